//! The shell at a terminal: prompt, completion, hints, history, the keys that clear and leave; and the tour.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::support::Place;

const TAB: &str = "\t";
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// How long something may take on a busy machine before it is called missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// The binary at a terminal, and what it has shown there.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// What was looked at already.
    seen: usize,
}

impl Terminal {
    /// Runs the binary at a terminal without colours, 80 columns wide.
    fn run(place: &Place, args: &[&str]) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&theirs, size).unwrap();
        let mut command = place.command(args);
        command.env("TERM", "xterm").env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
        let ends = [&theirs; 3].map(|end| end.try_clone().unwrap());
        let [stdin, stdout, stderr] = ends;
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        let keyboard = File::from(ours);
        let screen = Arc::new(Mutex::new(String::new()));
        let terminal = Terminal { child, keyboard, screen, seen: 0 };
        terminal.show();
        terminal
    }

    /// Collects what the binary writes, and answers it when it asks where the cursor is, as a terminal does.
    fn show(&self) {
        let (mut output, screen) = (self.keyboard.try_clone().unwrap(), self.screen.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is the end: nobody has the other side open.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                if text.contains("\x1b[6n") {
                    output.write_all(b"\x1b[1;1R").unwrap();
                }
                screen.lock().unwrap().push_str(&text);
            }
        });
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Clears the line with Ctrl-C, and waits until it is cleared: what is typed before that goes with it.
    fn clears_the_line(&mut self) {
        self.types(CTRL_C);
        self.shows("\n");
    }

    /// Waits until this is shown, behind what was seen before, and hands back what came until then.
    fn shows(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().clone();
            if let Some(at) = screen[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let shown = screen[self.seen..end].to_owned();
                self.seen = end;
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "{text:?} is not shown: {:?}", &screen[self.seen..]);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Leaves with Ctrl-D: the exit code is 0.
    fn leaves(mut self) {
        self.shows("> ");
        self.types(CTRL_D);
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not leave: {:?}", self.screen.lock().unwrap());
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A failed test must not leave it behind. One that has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_line_is_typed_completed_and_run_again() {
    let place = Place::with(&[("user:1", "alice"), ("user:22", "bob")]);
    let mut shell = Terminal::run(&place, &["shell", "demo"]);
    shell.shows("demo @");
    shell.shows("> ");
    // A command, then the key as far as it is one, then the key that is left.
    shell.types(&format!("ge{TAB}u{TAB}2{TAB}\r"));
    shell.shows("bob");
    shell.types(&format!("sc{TAB}--pre{TAB}user:2\r"));
    shell.shows("user:22  bob");
    // The line before, and the one before that.
    shell.types(&format!("{UP}{UP}\r"));
    shell.shows("bob");
    shell.types("pt a 1\r");
    shell.shows("did you mean \"put\"?");
    shell.leaves();
    // The next shell knows them, too, but for lines that begin with a space.
    let mut shell = Terminal::run(&place, &["shell", "demo"]);
    shell.shows("> ");
    shell.types(" get user:1\r");
    shell.shows("alice");
    shell.types(".history\r");
    let listed = shell.shows("pt a 1");
    assert!(listed.contains("get user:22") && !listed.contains(" get user:1\r\n get"), "{listed}");
    shell.leaves();
}

#[test]
fn keys_that_clear_and_lines_that_go_on() {
    let place = Place::with(&[]);
    let mut shell = Terminal::run(&place, &["shell", "demo"]);
    shell.shows("> ");
    shell.types("put never 1");
    shell.shows("never 1");
    shell.clears_the_line();
    shell.shows("> ");
    shell.types("put a \"two\r");
    shell.types("lines\"\r");
    shell.shows("lsn  ");
    shell.types("count\r");
    shell.shows("count  1");
    shell.types("get a\r");
    shell.shows("two\\nlines");
    shell.leaves();
}

#[test]
fn the_prompt_counts_what_a_power_cut_would_take() {
    let place = Place::new();
    let mut shell = Terminal::run(&place, &[]);
    shell.shows("lab @0> ");
    shell.types(".durability buffered\r");
    shell.shows("\n");
    shell.shows("lab @0> ");
    shell.types("put a 1\r");
    shell.shows("lab @1 (+1 unsynced)> ");
    shell.types("put b 2\r");
    shell.shows("lab @2 (+2 unsynced)> ");
    shell.types("crash\r");
    shell.shows("lab crashed> ");
    shell.types("recover\r");
    shell.shows("nothing of it had reached the disk");
    shell.shows("lab @0");
    shell.leaves();
}

/// Keys of another keyspace, content that looks like an option, and in the lab the files of its disk.
#[test]
fn completion_knows_where_it_is() {
    let place = Place::with(&[]);
    place.ok(&["put", "demo", "other:1", "there", "--keyspace", "other"]);
    place.ok(&["put", "demo", "--escaped", "\\x2d\\x2dkey", "dashed"]);
    let mut shell = Terminal::run(&place, &["shell", "demo"]);
    shell.shows("> ");
    shell.types(&format!("get --keyspace other o{TAB}\r"));
    shell.shows("there");
    shell.shows("> ");
    shell.types(&format!("get \"--{TAB}\r"));
    shell.shows("dashed");
    shell.leaves();
    let mut shell = Terminal::run(&place, &["lab"]);
    shell.shows("lab @0> ");
    shell.types(&format!("inspect MAN{TAB}\r"));
    shell.shows("manifest header");
    shell.leaves();
}

#[test]
fn the_tour_waits_and_can_be_left() {
    let place = Place::new();
    let mut shell = Terminal::run(&place, &["lab", "--tour"]);
    shell.shows("1/12");
    shell.shows("the lab> ");
    shell.types("\r");
    shell.shows("2/12");
    shell.shows("the lab> ");
    shell.clears_the_line();
    shell.shows("lab @2> ");
    shell.types("get user:1\r");
    shell.shows("alice");
    shell.leaves();
}

/// How long a person waits, among as many keys as `FORELOG_TERMINAL_KEYS` says. In an ordinary run not a measurement: it would
/// have to be very slow to be noticed.
#[test]
fn prompt_and_completion_are_immediate() {
    let place = Place::new();
    place.ok(&["create", "empty"]);
    let began = Instant::now();
    let mut shell = Terminal::run(&place, &["shell", "empty"]);
    shell.shows("empty @1");
    println!("the prompt of an empty store after {:?}", began.elapsed());
    shell.leaves();

    let keys =
        std::env::var("FORELOG_TERMINAL_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let lines: String = (0..keys).map(|n| format!("{{\"key\":\"key-{n:07}\",\"value\":\"\"}}\n")).collect();
    assert_eq!(place.run_with(&["import", "demo", "-", "--batch", "10000"], lines.as_bytes()).code, 0);
    let mut shell = Terminal::run(&place, &["shell", "demo"]);
    shell.shows("> ");
    let ten = format!("key-{:06}", keys / 10 - 1);
    shell.types(&format!("get {ten}"));
    shell.shows(&format!("> get {ten}"));
    let began = Instant::now();
    shell.types(&format!("{TAB}{TAB}"));
    // Ten keys begin so: they are listed.
    shell.shows(&format!("{ten}9"));
    println!("ten of {keys} keys offered after {:?}", began.elapsed());
    shell.shows(&format!("> get {ten}"));
    shell.clears_the_line();
    shell.leaves();
}
