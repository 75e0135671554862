//! How large the directory of a store gets while its data is overwritten as fast as that goes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::{Db, Durability, Options};

use super::tools::{Newest, Values, fill};
use super::{Arguments, Result};

/// Of 16 and 100 bytes: about 100 MB.
const KEYS: u32 = 860_000;
const ENTRY_BYTES: u64 = 116;

const MIB: f64 = (1 << 20) as f64;

/// What default settings are.
const SEGMENT_BYTES: u64 = 64 << 20;
const CHECKPOINT_AFTER_BYTES: u64 = 64 << 20;

/// The moment at which the directory was largest, against its bound.
#[derive(Clone, Copy, Default)]
struct Peak {
    ratio: f64,
    log_bytes: u64,
    checkpoint_bytes: u64,
    bound: u64,
    at: Duration,
    samples: u64,
}

pub(crate) fn table(arguments: &Arguments, dir: &Path) -> Result<()> {
    let store = dir.join("store");
    let newest = Arc::new(Newest::default());
    let db = Options::new().durability(Durability::Buffered).listener(newest.clone()).open(&store)?;
    fill(&db, KEYS)?;
    db.checkpoint()?;
    let begun = Instant::now();
    let ended = AtomicBool::new(false);
    let (peak, checkpoints) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&newest, &store, &ended));
        let written = overwrite(&db, arguments.overwrite_bytes);
        ended.store(true, Ordering::Relaxed);
        written?;
        watcher.join().map_err(|_| "the watcher panicked")?
    })?;
    let took = begun.elapsed();
    let puts = arguments.overwrite_bytes / ENTRY_BYTES;
    println!(
        "{} MiB of overwrites of {} MB: {:.0} puts a second, {checkpoints} checkpoints of {:.0} MiB",
        arguments.overwrite_bytes >> 20,
        u64::from(KEYS) * ENTRY_BYTES / 1_000_000,
        puts as f64 / took.as_secs_f64(),
        db.stats().checkpoint_bytes as f64 / MIB,
    );
    println!(
        "  largest: x {:.3} of the bound of {:.0} MiB, {} ms after the beginning: {:.0} MiB of log, {:.0} MiB of checkpoints; {} samples",
        peak.ratio,
        peak.bound as f64 / MIB,
        peak.at.as_millis(),
        peak.log_bytes as f64 / MIB,
        peak.checkpoint_bytes as f64 / MIB,
        peak.samples,
    );
    db.close()?;
    Ok(())
}

fn overwrite(db: &Db, bytes: u64) -> Result<()> {
    let mut values = Values::new(6);
    for _ in 0..bytes / ENTRY_BYTES {
        let key = values.key_below(KEYS);
        db.put(key, values.next())?;
    }
    Ok(())
}

/// Two checkpoints, the log that makes a checkpoint due, and four segments.
fn bound(checkpoint_bytes: u64) -> u64 {
    2 * checkpoint_bytes + checkpoint_bytes.max(CHECKPOINT_AFTER_BYTES) + 4 * SEGMENT_BYTES
}

fn watch(newest: &Newest, store: &Path, ended: &AtomicBool) -> Result<(Peak, usize)> {
    let mut peak = Peak::default();
    let (mut last, mut last_bytes, mut checkpoints) = (0, 0, 0);
    let started = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let lsn = newest.0.load(Ordering::Relaxed);
        let prefix = format!("{lsn:020}-");
        let (mut log_bytes, mut checkpoint_bytes, mut newest_bytes) = (0, 0, 0);
        for file in fs::read_dir(store)? {
            let file = file?;
            // What has gone since it was listed counts no more.
            let Ok(data) = file.metadata() else { continue };
            let name = file.file_name().into_string().unwrap_or_default();
            *(if name.ends_with(".ckpt") { &mut checkpoint_bytes } else { &mut log_bytes }) += data.len();
            newest_bytes += if name.starts_with(&prefix) && name.ends_with(".ckpt") { data.len() } else { 0 };
        }
        if lsn != last {
            (last, last_bytes) = (lsn, newest_bytes);
            checkpoints += 1;
        }
        let bound = bound(last_bytes);
        let ratio = (log_bytes + checkpoint_bytes) as f64 / bound as f64;
        peak.samples += 1;
        if ratio > peak.ratio {
            let at = started.elapsed();
            peak = Peak { ratio, log_bytes, checkpoint_bytes, bound, at, ..peak };
        }
        if peak.samples % 10_000 == 0 {
            eprintln!(
                "directory: {} s, at most x {:.3} of the bound",
                started.elapsed().as_secs(),
                peak.ratio
            );
        }
        thread::sleep(Duration::from_millis(3));
    }
    Ok((peak, checkpoints))
}
