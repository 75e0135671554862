//! Kills the real binary while it imports, at random moments, and shows that nothing acknowledged is lost: every line
//! up to the last `{"acknowledged":N}` is there, and the keys are those of the input up to some batch, whole.
//!
//! A kill leaves what was written in the page cache, so this shows locks, real system calls and reopening; that
//! syncs are in their places is shown by the crash tests on the simulated disk.
//!
//! `FORELOG_KILL_ROUNDS` says how often (20), `FORELOG_KILL_SEED` repeats a run.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use forelog::{CreateMode, Db, Options};

/// Lines of each input.
const LINES: u64 = 3_000;
/// Lines of a batch.
const BATCH: u64 = 10;

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The value that line `index` of input number `version` sets.
fn value(version: u64, index: u64) -> String {
    format!("version {version} of {index} {}", "x".repeat(usize::try_from(index % 97).unwrap()))
}

fn write_input(path: &Path, version: u64) {
    let line = |index| format!("{{\"key\":\"{index:08}\",\"value\":\"{}\"}}\n", value(version, index));
    std::fs::write(path, (0..LINES).map(line).collect::<String>()).unwrap();
}

fn import(store: &Path, input: &Path, skip: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forelog"));
    command.arg("import").arg(store).arg(input);
    command.args(["--quiet", "--progress", "json"]);
    command.args(["--batch", &BATCH.to_string(), "--skip", &skip.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Runs an import, kills it after some time, and says how many lines it had acknowledged.
fn killed(store: &Path, input: &Path, after: Duration) -> u64 {
    let mut child = import(store, input, 0).spawn().unwrap();
    let told = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        for line in BufReader::new(told).lines() {
            let told: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            last = told["acknowledged"].as_u64().unwrap();
        }
        last
    });
    std::thread::sleep(after);
    // It may have finished already, which is one of the moments.
    let _ = child.kill();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// What is wrong with a store that held version `old` of everything (0: nothing) while lines of `new` were imported,
/// of which `acknowledged` were acknowledged.
fn violation(store: &Path, old: u64, new: u64, acknowledged: u64) -> Option<String> {
    let db = match Options::new().create(CreateMode::Never).open(store) {
        Ok(db) => db,
        // Killed before the store was made.
        Err(forelog::Error::NoStore { .. }) if old == 0 && acknowledged == 0 => return None,
        Err(error) => return Some(format!("does not open: {error}")),
    };
    let done = (0..LINES).take_while(|index| is(&db, *index, new)).count() as u64;
    if done < acknowledged {
        return Some(format!("lines {done} to {acknowledged} were acknowledged and are lost"));
    }
    if !done.is_multiple_of(BATCH) && done != LINES {
        return Some(format!("a batch is there in part: {done} lines"));
    }
    let rest_is_old = (done..LINES).all(|index| match old {
        0 => db.get(key(index)).unwrap().is_none(),
        old => is(&db, index, old),
    });
    if !rest_is_old {
        return Some(format!("behind line {done} something is neither old nor new"));
    }
    db.close().err().map(|error| format!("does not close: {error}"))
}

fn key(index: u64) -> String {
    format!("{index:08}")
}

fn is(db: &Db, index: u64, version: u64) -> bool {
    db.get(key(index)).unwrap().is_some_and(|found| found == value(version, index).as_bytes())
}

/// One test at a time: a process that one of them forks holds, for a moment, the locks that the other has open.
static ALONE: Mutex<()> = Mutex::new(());

/// Broken: src/wal/tail.rs: `self.segment.file.write_at(&self.buffer, first.offset)?; if sync_follows` to `if first.lsn.get() % 1000 > 0 { self.segment.file.write_at(&self.buffer, first.offset)?; } if sync_follows`
#[test]
fn kills_lose_nothing_acknowledged() {
    let _alone = ALONE.lock();
    let rounds = environment("FORELOG_KILL_ROUNDS").unwrap_or(20);
    let seed = environment("FORELOG_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let inputs = [dir.path().join("0"), dir.path().join("1"), dir.path().join("2")];
    (1..=2).for_each(|version| write_input(&inputs[version], version as u64));

    // How long a whole import takes here; the kills are spread over that time.
    let full = dir.path().join("full");
    let begun = Instant::now();
    assert!(import(&full, &inputs[1], 0).output().unwrap().status.success());
    let whole = begun.elapsed();

    let mut violations = Vec::new();
    let mut note = |round: u64, found: Option<String>| {
        violations.extend(found.map(|what| format!("round {round} of seed {seed}: {what}")));
    };
    let mut held = 1;
    for round in 0..rounds {
        // By turns into a fresh store, and changed values into the full one. Then to the end of the same input.
        let fresh = dir.path().join(format!("fresh-{round}"));
        let (store, old, new) = if round % 2 == 0 { (&fresh, 0, 1) } else { (&full, held, 3 - held) };
        let input = &inputs[usize::try_from(new).unwrap()];
        let acknowledged = killed(store, input, whole.mul_f64(random.f64()));
        note(round, violation(store, old, new, acknowledged));
        assert!(import(store, input, acknowledged).output().unwrap().status.success());
        note(round, violation(store, old, new, LINES));
        if old == 0 {
            std::fs::remove_dir_all(store).unwrap();
        } else {
            held = new;
        }
    }
    println!("kills survived: {rounds}, violations: {}", violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// Broken: src/storage/real.rs: `.create(true).truncate(false)` to `.create_new(true)`
#[test]
fn a_killed_writer_frees_the_lock() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let binary = env!("CARGO_BIN_EXE_forelog");
    let mut holder = Command::new(binary)
        .args(["-q", "shell"])
        .arg(&store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(holder.stdin.as_mut().unwrap(), b"put a 1\n").unwrap();
    let mut answer = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut answer).unwrap();

    let put = || Command::new(binary).arg("put").arg(&store).args(["b", "2"]).output().unwrap();
    assert_eq!(put().status.code(), Some(4), "two processes, one store");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(put().status.code(), Some(0), "the lock ends with its process");
    let db = Db::open(&store).unwrap();
    assert_eq!(db.get("a").unwrap().unwrap(), "1");
    assert_eq!(db.iter().count(), 2);
}
