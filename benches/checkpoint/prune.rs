//! Durable puts while old segments are removed.

use std::fs;
use std::path::Path;
use std::thread;

use forelog::{Db, Durability, Options, Retention, WriteBatch, WriteOptions};
use hdrhistogram::Histogram;

use super::tools::{Values, histogram, print_latencies, timed_put};
use super::{Arguments, Result};

const SEGMENT_BYTES: u64 = 8 << 20;
const SEGMENTS: usize = 100;
const KEYS: u32 = 1000;

const ROWS: [(&str, Option<usize>); 2] =
    [("durable put, alone", None), ("durable put while segments are removed", Some(0))];

pub(crate) fn table(arguments: &Arguments, dir: &Path) -> Result<()> {
    let mut runs: [Vec<Histogram<u64>>; 2] = Default::default();
    let mut removed = 0;
    for round in 0..arguments.rounds {
        eprintln!("prune: round {} of {}", round + 1, arguments.rounds);
        let store = dir.join("store");
        let options = || Options::new().checkpoint_after_bytes(None);
        let db = options().segment_bytes(SEGMENT_BYTES).retention(Retention::All(Vec::new())).open(&store)?;
        overwrite(&db)?;
        db.checkpoint()?;
        db.close()?;
        let db = options().retention(Retention::Any(Vec::new())).open(&store)?;
        let beside = beside_prune(&db)?;
        let removed_now = SEGMENTS.saturating_sub(db.stats().segments);
        removed = removed.max(removed_now);
        // As many as beside it, so that a quantile means the same.
        let (mut alone, mut values) = (histogram()?, Values::new(5));
        while alone.len() < beside.len() {
            timed_put(&db, KEYS, &mut values, &mut alone)?;
        }
        runs[0].push(alone);
        runs[1].push(beside);
        db.close()?;
        fs::remove_dir_all(&store)?;
    }
    println!("durable puts while at least {removed} segments of {} MiB are removed", SEGMENT_BYTES >> 20);
    print_latencies(&ROWS, &runs);
    Ok(())
}

/// Fills so many segments with a few keys, over and over.
fn overwrite(db: &Db) -> Result<()> {
    let buffered = WriteOptions::new().durability(Durability::Buffered);
    let mut values = Values::new(4);
    while db.stats().segments <= SEGMENTS {
        let mut batch = WriteBatch::new();
        (0..100).for_each(|_| batch.put(values.key_below(KEYS), values.next().repeat(10)));
        db.write_with(batch, &buffered)?;
    }
    Ok(())
}

fn beside_prune(db: &Db) -> Result<Histogram<u64>> {
    let (mut latencies, mut values) = (histogram()?, Values::new(5));
    thread::scope(|scope| {
        let prune = scope.spawn(|| db.prune(false));
        while !prune.is_finished() {
            timed_put(db, KEYS, &mut values, &mut latencies)?;
        }
        prune.join().map_err(|_| "pruning panicked")??;
        Ok(latencies)
    })
}
