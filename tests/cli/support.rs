//! A store in a directory of its own, and the binary run on it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    /// What it answered, as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// What it answered, as JSON objects.
    pub fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The last line of what it said, as a JSON object.
    pub fn error(&self) -> Value {
        serde_json::from_str(self.err.lines().last().unwrap()).unwrap()
    }
}

/// A directory to work in. The store is `demo` there.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    /// An empty directory.
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    /// A directory with a store that holds these keys.
    pub fn with(entries: &[(&str, &str)]) -> Place {
        let place = Place::new();
        place.ok(&["create", "demo", "--segment-bytes", "1048576"]);
        for (key, value) in entries {
            place.ok(&["put", "demo", key, value]);
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary, as it will be run here.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forelog"));
        command.args(args).current_dir(self.dir.path()).env_remove("NO_COLOR");
        command.env("XDG_STATE_HOME", self.dir.path());
        command
    }

    /// Runs it with this on standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = assert_cmd::Command::from_std(self.command(args));
        let output = command.write_stdin(input).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    /// Runs it, and it must succeed.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran
    }

    /// Runs it, and it must succeed with this answer.
    pub fn says(&self, args: &[&str], expected: &str) {
        assert_eq!(self.ok(args).text(), expected, "{args:?}");
    }

    /// Runs it with `-f json`, and it must fail with this code and kind. Hands back the error object.
    pub fn fails(&self, args: &[&str], code: i32, kind: &str) -> Value {
        let args = [&["-f", "json"], args].concat();
        let ran = self.run(&args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        let error = ran.error();
        assert_eq!(error["kind"], kind, "{args:?}: {ran:?}");
        assert!(error["error"].is_string());
        error
    }

    /// Starts it with pipes on all sides.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}
