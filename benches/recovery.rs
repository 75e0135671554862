//! How fast a store comes back from its log, or from a checkpoint, beside the limit: `cargo bench --bench recovery`.
//!
//! ```text
//!  cargo bench --bench recovery                                  1 and 5 million puts, 5 rounds
//!  cargo bench --bench recovery -- 2000000 --rounds 9            another number of puts
//!  cargo bench --bench recovery -- 5000000 --work overwrites     of 10,000 keys only
//!  cargo bench --bench recovery -- 5000000 --work churn          every put is deleted again
//!  cargo bench --bench recovery -- 5000000 --work checkpoint     of a checkpoint instead of the log
//! ```
//!
//! A process fills a store with single puts (16-byte random keys, 100-byte random values), buffered, and ends without
//! closing it; it takes no checkpoint, or one of all that it has put. Then, in interleaved rounds, each time in a
//! process of its own: the limit, which is to read the same bytes and to compute their CRC-32, by one and by two
//! threads; and opening, by one and by two. The files are in the page cache for all alike. Printed are medians, and of
//! ratios the median of those within one round. Memory is the peak of the process (`VmHWM`), against what the process
//! that filled the store had at its end (`VmRSS`).

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::{Db, Durability, Options};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WORKS: [&str; 4] = ["puts", "overwrites", "churn", CHECKPOINT];
const CHECKPOINT: &str = "checkpoint";

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    // The first three are what this program calls itself with.
    let result = match given[..] {
        ["fill", dir, work, puts] => fill(Path::new(dir), work, puts),
        ["limit", dir, threads] => limit(Path::new(dir), threads),
        ["open", dir, threads] => open(Path::new(dir), threads),
        _ => measure(&given),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What one process did: how long it took, and a figure of memory in KiB.
#[derive(Clone, Copy)]
struct Measured {
    took: Duration,
    memory: u64,
}

fn say(took: Duration, field: &str) -> Result<()> {
    println!("{} {}", took.as_nanos(), kib(field)?);
    Ok(())
}

fn call(arguments: &[&str]) -> Result<Measured> {
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (took, memory) = text.trim().split_once(' ').ok_or("a measurement failed")?;
    Ok(Measured { took: Duration::from_nanos(took.parse()?), memory: memory.parse()? })
}

fn kib(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}

fn measure(given: &[&str]) -> Result<()> {
    let (mut counts, mut rounds, mut work) = (Vec::new(), 5, "puts");
    let mut rest = given.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--rounds" => rounds = rest.next().ok_or("--rounds needs a number")?.parse()?,
            "--work" => work = rest.next().filter(|name| WORKS.contains(name)).ok_or("no such work")?,
            count => counts.push(count.parse()?),
        }
    }
    if counts.is_empty() {
        counts = vec![1_000_000, 5_000_000];
    }
    counts.into_iter().try_for_each(|count| measure_one(work, count, rounds))
}

fn measure_one(work: &str, puts: u64, rounds: usize) -> Result<()> {
    // Beside the build: the usual temporary directory may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let dir = dir.path().to_str().ok_or("the current directory has a strange name")?;
    let finished = call(&["fill", dir, work, &puts.to_string()])?;
    let kinds = [["limit", "1"], ["limit", "2"], ["open", "1"], ["open", "2"]];
    let mut runs: [Vec<Measured>; 4] = Default::default();
    for round in 0..rounds {
        eprintln!("{puts} {work}: round {} of {rounds}", round + 1);
        for ([kind, threads], runs) in kinds.iter().zip(&mut runs) {
            runs.push(call(&[kind, dir, threads])?);
        }
    }
    let seconds = |of: usize| runs[of].iter().map(|run| run.took.as_secs_f64());
    let ratio = |of: usize, to: usize| median(seconds(to).zip(seconds(of)).map(|(to, of)| to / of));
    println!("{puts} {work}; the store that was filled takes {} MiB", finished.memory >> 10);
    println!("  threads      opening, 1/s   of the limit   of one thread   peak MiB   over the filled one");
    for (threads, limit, open) in [(1, 0, 2), (2, 1, 3)] {
        let peak = median(runs[open].iter().map(|run| run.memory as f64 / 1024.0));
        println!(
            "  {threads:>7}   {:>15.0}   {:>12.2}   {:>13.2}   {peak:>8.0}   x {:.2} + 64",
            median(seconds(open).map(|seconds| puts as f64 / seconds)),
            ratio(open, limit),
            ratio(open, 2),
            (peak - 64.0) / (finished.memory as f64 / 1024.0),
        );
    }
    Ok(())
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn fill(dir: &Path, work: &str, puts: &str) -> Result<()> {
    let began = Instant::now();
    let mut random = Random(0x243f_6a88_85a3_08d3);
    let mut options = Options::new().durability(Durability::Buffered).checkpoint_after_bytes(None);
    if work == CHECKPOINT {
        // What is read of the log besides is one segment.
        options = options.segment_bytes(4 << 20);
    }
    let db = options.open(dir)?;
    for _ in 0..puts.parse()? {
        let (mut key, mut value) = ([0; 16], [0; 100]);
        random.fill(&mut key);
        random.fill(&mut value);
        if work == "overwrites" {
            key = (random.next() % 10_000).to_be_bytes().repeat(2).try_into().unwrap_or(key);
        }
        db.put(key, value)?;
        if work == "churn" {
            db.delete(key)?;
        }
    }
    if work == CHECKPOINT {
        db.checkpoint()?;
    }
    // When it falls idle the log is synced and marked as such, so that opening has nothing to write again.
    let last = db.wait_durable(db.visible_lsn());
    thread::sleep(Duration::from_millis(500));
    last?;
    say(began.elapsed(), "VmRSS")?;
    // As a kill would: nothing is closed.
    std::process::exit(0)
}

fn open(dir: &Path, threads: &str) -> Result<()> {
    let began = Instant::now();
    let db: Db = Options::new().recovery_threads(threads.parse()?).open(dir)?;
    say(began.elapsed(), "VmHWM")?;
    if std::env::var_os("FORELOG_BENCH_TIMES").is_some() {
        eprintln!("{threads} threads: {:?} in {:?}", db.recovery_report().times, db.recovery_report().took);
    }
    std::process::exit(0)
}

/// Reads all segments, without the zeros at their ends, and all parts of a checkpoint, and computes their checksums.
fn limit(dir: &Path, threads: &str) -> Result<()> {
    let mut files: Vec<(PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal" || extension == "ckpt") {
            let bytes = fs::read(&path)?;
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            files.push((path, used));
        }
    }
    files.sort();
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> =
            (0..threads.parse()?).map(|_| scope.spawn(|| checksum(&files, &next))).collect();
        for reader in readers {
            reader.join().map_err(|_| "a reader panicked")??;
        }
        Result::Ok(())
    })?;
    say(began.elapsed(), "VmHWM")
}

fn checksum(files: &[(PathBuf, u64)], next: &AtomicUsize) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while let Some((path, used)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut file = File::open(path)?.take(*used);
        let mut hasher = crc32fast::Hasher::new();
        loop {
            let filled = file.read(&mut buffer)?;
            if filled == 0 {
                break;
            }
            hasher.update(&buffer[..filled]);
        }
        std::hint::black_box(hasher.finalize());
    }
    Ok(())
}

/// xorshift64*: fast, and the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
