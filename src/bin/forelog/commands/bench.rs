//! `bench`: what this machine, this disk and this store can do, each beside the limit that nobody passes.
//!
//! A workload and its limit take turns, so that a slow moment falls on both; the ratio is taken within a round, and what is
//! told is the median of the rounds. Everything happens in a directory of its own, which is removed in the end.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use forelog::{Db, Durability, Options};
use hdrhistogram::Histogram;

use super::App;
use crate::args::Bench;
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output::Cell;
use crate::suggest::did_you_mean;

const VALUE: [u8; 100] = [0x5a; 100];

/// What a record of such a value and a key of 16 bytes takes in the log: a header of 48 bytes, and a payload of 120.
const RECORD_BYTES: u64 = 168;

/// Keys for the workloads that read.
const KEYS: u64 = 100_000;

/// How many threads write in the workload that shares syncs.
const WRITERS: usize = 8;

/// Something to do for a while.
type Work = fn(&Path, Duration) -> Result<Run, Failure>;

struct Workload {
    name: &'static str,
    about: &'static str,
    run: Work,
    limit_about: &'static str,
    limit: Work,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "durable-put",
        about: "one thread, each put synced",
        run: |dir, time| puts(dir, time, Durability::Sync, 1),
        limit_about: "write and fdatasync",
        limit: |dir, time| raw_writes(dir, time, true),
    },
    Workload {
        name: "shared-put",
        about: "eight threads, each put synced",
        run: |dir, time| puts(dir, time, Durability::Sync, WRITERS),
        limit_about: "write and fdatasync, one thread",
        limit: |dir, time| raw_writes(dir, time, true),
    },
    Workload {
        name: "buffered-put",
        about: "one thread, no sync",
        run: |dir, time| puts(dir, time, Durability::Buffered, 1),
        limit_about: "write",
        limit: |dir, time| raw_writes(dir, time, false),
    },
    Workload {
        name: "get",
        about: "one thread, random keys of 100,000",
        run: gets,
        limit_about: "a BTreeMap of one thread",
        limit: |_, time| Ok(map_gets(time)),
    },
    Workload {
        name: "open",
        about: "replay a log of 100,000 puts",
        run: opens,
        limit_about: "read and checksum its file",
        limit: reads,
    },
];

/// What was done in a while.
struct Run {
    operations: u64,
    took: Duration,
    /// Of each operation, in nanoseconds; empty where only the rate counts.
    latencies: Histogram<u64>,
}

impl Run {
    fn rate(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }
}

pub fn run(args: &Bench, app: &mut App) -> Result<Outcome, Failure> {
    interrupt::listen();
    let chosen: Vec<&Workload> = match &args.workload {
        None => WORKLOADS.iter().collect(),
        Some(name) => {
            let names = || WORKLOADS.iter().map(|workload| workload.name);
            let known = WORKLOADS.iter().find(|workload| workload.name == name);
            let all = names().collect::<Vec<_>>().join(", ");
            vec![known.ok_or_else(|| {
                let hint = did_you_mean(name, names());
                Failure::Usage(format!("there is no workload {name:?}{hint}; there are {all}"))
            })?]
        }
    };
    let parent = args.dir.as_deref().unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".forelog-bench-").tempdir_in(parent);
    let dir = made.map_err(|error| Failure::file("create a directory in", parent, error.kind().into()))?;
    app.globals.say(format_args!(
        "{} rounds of {} s each, in {}",
        args.rounds,
        args.seconds,
        parent.display()
    ));
    let mut rows =
        app.out.rows(&["workload", "per_second", "p50_us", "p99_us", "limit_per_second", "ratio", "what"])?;
    for workload in chosen {
        let time = Duration::from_secs_f64(args.seconds);
        let (mut runs, mut limits) = (Vec::new(), Vec::new());
        for round in 0..args.rounds {
            interrupt::check()?;
            let place = |what: &str| dir.path().join(format!("{}-{what}-{round}", workload.name));
            runs.push((workload.run)(&place("store"), time)?);
            limits.push((workload.limit)(&place("limit"), time)?);
        }
        let ratio = median(runs.iter().zip(&limits).map(|(run, limit)| run.rate() / limit.rate()));
        let latency = |quantile: f64| match runs.iter().all(|run| run.latencies.is_empty()) {
            true => Cell::Absent,
            false => {
                let of = |run: &Run| run.latencies.value_at_quantile(quantile) as f64 / 1e3;
                Cell::Decimal(median(runs.iter().map(of)), 1)
            }
        };
        rows.row(&[
            Cell::text(workload.name),
            whole(median(runs.iter().map(Run::rate))),
            latency(0.5),
            latency(0.99),
            whole(median(limits.iter().map(Run::rate))),
            Cell::Decimal(ratio, 2),
            Cell::text(format!("{}; the limit: {}", workload.about, workload.limit_about)),
        ])?;
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Outcome::Done)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A rate, which is no rate of fractions.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count of operations
fn whole(rate: f64) -> Cell<'static> {
    Cell::Number(rate.round() as u64)
}

/// Does something over and over until the time is over, and measures each.
fn repeat(time: Duration, mut work: impl FnMut(u64) -> Result<(), Failure>) -> Result<Run, Failure> {
    let mut latencies = new_histogram();
    let began = Instant::now();
    let (mut operations, mut before) = (0, began);
    loop {
        interrupt::check()?;
        work(operations)?;
        operations += 1;
        let now = Instant::now();
        // It grows to what is recorded.
        _ = latencies.record(u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX));
        before = now;
        if now - began >= time {
            return Ok(Run { operations, took: now - began, latencies });
        }
    }
}

fn new_histogram() -> Histogram<u64> {
    // Three digits are a number that is always taken.
    Histogram::new(3).unwrap_or_else(|_| unreachable!("three significant digits"))
}

/// The same number is never drawn twice in a row, and each machine draws the same.
fn key(number: u64) -> [u8; 16] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn puts(dir: &Path, time: Duration, durability: Durability, writers: usize) -> Result<Run, Failure> {
    let db = Options::new().durability(durability).open(dir)?;
    let runs: Vec<Result<Run, Failure>> = thread::scope(|scope| {
        let write = |writer: usize| {
            let db = &db;
            let first = writer as u64 * 1_000_000_000;
            move || repeat(time, |number| Ok(db.put(key(first + number), VALUE).map(drop)?))
        };
        let writers: Vec<_> = (0..writers).map(|writer| scope.spawn(write(writer))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap_or(Err(Failure::Interrupted))).collect()
    });
    db.close()?;
    let mut sum = Run { operations: 0, took: time, latencies: new_histogram() };
    for run in runs {
        let run = run?;
        sum.operations += run.operations;
        sum.took = sum.took.max(run.took);
        // Both are made by `new_histogram`.
        _ = sum.latencies.add(&run.latencies);
    }
    Ok(sum)
}

/// Appends to a file that has its room already, as the log does.
fn raw_writes(path: &Path, time: Duration, sync: bool) -> Result<Run, Failure> {
    const ROOM: u64 = 64 << 20;
    let failed = |source: io::Error| Failure::file("write", path, source);
    let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all_at(&vec![0; usize::try_from(ROOM).unwrap_or(usize::MAX)], 0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let bytes = vec![0x5a; usize::try_from(RECORD_BYTES).unwrap_or(usize::MAX)];
    repeat(time, |number| {
        file.write_all_at(&bytes, number * RECORD_BYTES % (ROOM - RECORD_BYTES)).map_err(failed)?;
        if sync { file.sync_data().map_err(failed) } else { Ok(()) }
    })
}

fn filled(dir: &Path) -> Result<Db, Failure> {
    let db = Options::new().durability(Durability::Buffered).checkpoint_after_bytes(None).open(dir)?;
    for number in 0..KEYS {
        interrupt::check()?;
        db.put(key(number), VALUE)?;
    }
    Ok(db)
}

fn gets(dir: &Path, time: Duration) -> Result<Run, Failure> {
    let db = filled(dir)?;
    let run = repeat(time, |number| {
        black_box(db.get(key(number.wrapping_mul(7919) % KEYS))?);
        Ok(())
    });
    db.close()?;
    run
}

fn map_gets(time: Duration) -> Run {
    let map: BTreeMap<[u8; 16], Vec<u8>> = (0..KEYS).map(|number| (key(number), VALUE.to_vec())).collect();
    let run = repeat(time, |number| {
        black_box(map.get(&key(number.wrapping_mul(7919) % KEYS)).cloned());
        Ok(())
    });
    run.unwrap_or_else(|_| unreachable!("nothing in it fails"))
}

/// How many records a second are replayed. The time is that of one opening, however long.
fn opens(dir: &Path, _: Duration) -> Result<Run, Failure> {
    filled(dir)?.close()?;
    let began = Instant::now();
    let db = Db::open(dir)?;
    let took = began.elapsed();
    let operations = db.recovery_report().records;
    db.close()?;
    Ok(Run { operations, took, latencies: new_histogram() })
}

fn reads(path: &Path, _: Duration) -> Result<Run, Failure> {
    let failed = |source: io::Error| Failure::file("read", path, source);
    let bytes = KEYS * RECORD_BYTES;
    std::fs::write(path, vec![0x5a; usize::try_from(bytes).unwrap_or(usize::MAX)]).map_err(failed)?;
    let began = Instant::now();
    let file = File::open(path).map_err(failed)?;
    let (mut buffer, mut at, mut hasher) = (vec![0; 1 << 20], 0, crc32fast::Hasher::new());
    while at < bytes {
        let read = file.read_at(&mut buffer, at).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
    black_box(hasher.finalize());
    Ok(Run { operations: KEYS, took: began.elapsed(), latencies: new_histogram() })
}
