//! Durable puts beside a checkpoint, against the disk alone.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::{Db, Error, Options};
use hdrhistogram::Histogram;

use super::tools::{Values, fill, histogram, note, print_latencies, timed_put};
use super::{Arguments, Result};

/// Bytes that a put of a 16-byte key and a 100-byte value takes in the log.
const RECORD_BYTES: usize = 168;

/// What a checkpoint writes a second beside writers, and with each call.
const PLAIN_RATE: u64 = 32 << 20;
const PLAIN_WRITE: usize = 64 << 10;

const ROWS: [(&str, Option<usize>); 4] = [
    ("raw write + sync, alone", None),
    ("raw write + sync beside a plain writer", Some(0)),
    ("durable put, alone", Some(0)),
    ("durable put beside a checkpoint", Some(1)),
];

pub(crate) fn table(arguments: &Arguments, dir: &Path) -> Result<()> {
    let store = dir.join("store");
    let options = || Options::new().checkpoint_after_bytes(None);
    let db = options().open(&store)?;
    fill(&db, arguments.keys)?;
    // So that opening it again and again is quick.
    db.checkpoint()?;
    db.close()?;
    let mut runs: [Vec<Histogram<u64>>; 4] = Default::default();
    let mut ended = 0;
    for round in 0..arguments.rounds {
        eprintln!("puts: round {} of {}", round + 1, arguments.rounds);
        runs[0].push(raw(&dir.join("raw"), arguments.slice)?);
        runs[1].push(beside_plain_writer(dir, arguments.slice)?);
        let db = options().open(&store)?;
        runs[2].push(puts(&db, arguments, || false)?);
        runs[3].push(beside_checkpoint(&db, arguments, &mut ended)?);
    }
    println!(
        "durable puts beside a checkpoint of {} keys ({ended} of {} checkpoints came to their end)",
        arguments.keys, arguments.rounds
    );
    print_latencies(&ROWS, &runs);
    Ok(())
}

fn raw(path: &Path, slice: Duration) -> Result<Histogram<u64>> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.set_len(64 << 20)?;
    file.sync_all()?;
    let record = [7; RECORD_BYTES];
    let mut latencies = histogram()?;
    let mut at = 0;
    let started = Instant::now();
    while started.elapsed() < slice {
        let begun = Instant::now();
        file.write_all_at(&record, at)?;
        file.sync_data()?;
        note(&mut latencies, begun)?;
        at += RECORD_BYTES as u64;
    }
    fs::remove_file(path)?;
    Ok(latencies)
}

/// The raw loop beside a thread that writes a file at the rate of a checkpoint and leaves the rest to the system.
fn beside_plain_writer(dir: &Path, slice: Duration) -> Result<Histogram<u64>> {
    let ended = AtomicBool::new(false);
    let path = dir.join("plain");
    let latencies = thread::scope(|scope| {
        let writer = scope.spawn(|| plain_writer(&path, &ended));
        let latencies = raw(&dir.join("raw"), slice);
        ended.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer panicked")??;
        latencies
    })?;
    // What is left of it is nobody else's burden.
    File::open(&path)?.sync_all()?;
    fs::remove_file(&path)?;
    Ok(latencies)
}

fn plain_writer(path: &Path, ended: &AtomicBool) -> Result<()> {
    let file = File::create_new(path)?;
    let bytes = Values::new(1).next().repeat(PLAIN_WRITE / 100 + 1);
    let started = Instant::now();
    let mut at = 0;
    while !ended.load(Ordering::Relaxed) {
        file.write_all_at(&bytes[..PLAIN_WRITE], at)?;
        at += PLAIN_WRITE as u64;
        let due = Duration::from_secs_f64(at as f64 / PLAIN_RATE as f64);
        thread::sleep(due.saturating_sub(started.elapsed()));
    }
    Ok(())
}

fn puts(db: &Db, arguments: &Arguments, is_over: impl Fn() -> bool) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut values = Values::new(2);
    let started = Instant::now();
    while started.elapsed() < arguments.slice && !is_over() {
        timed_put(db, arguments.keys, &mut values, &mut latencies)?;
    }
    Ok(latencies)
}

/// Puts until a checkpoint has ended, or for as long as a row lasts: then closing gives it up.
fn beside_checkpoint(db: &Db, arguments: &Arguments, ended: &mut usize) -> Result<Histogram<u64>> {
    thread::scope(|scope| {
        let checkpoint = scope.spawn(|| db.checkpoint());
        let latencies = puts(db, arguments, || checkpoint.is_finished());
        db.close()?;
        match checkpoint.join().map_err(|_| "the checkpoint panicked")? {
            Ok(_) => *ended += 1,
            Err(Error::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        latencies
    })
}
