//! Durable puts while old segments are removed, and while they are copied to an archive before they are.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use forelog::{Db, Durability, Options, Retention, WriteBatch, WriteOptions};
use hdrhistogram::Histogram;

use super::tools::{Values, histogram, median, print_latencies, timed_put};
use super::{Arguments, Result};

const SEGMENT_BYTES: u64 = 8 << 20;
const KEYS: u32 = 1000;

/// What goes, and where to before it does.
struct Going {
    what: &'static str,
    segments: usize,
    archived: bool,
}

pub(crate) fn table(arguments: &Arguments, dir: &Path) -> Result<()> {
    let removed = Going { what: "durable put while segments are removed", segments: 100, archived: false };
    let archived = Going { what: "durable put while segments are archived", segments: 16, archived: true };
    rows(arguments, dir, &removed)?;
    rows(arguments, dir, &archived)
}

fn rows(arguments: &Arguments, dir: &Path, going: &Going) -> Result<()> {
    let rows = [("durable put, alone", None), (going.what, Some(0))];
    let mut runs: [Vec<Histogram<u64>>; 2] = Default::default();
    let (mut gone, mut took) = (usize::MAX, Vec::new());
    for round in 0..arguments.rounds {
        eprintln!("prune: {}: round {} of {}", going.what, round + 1, arguments.rounds);
        let (store, archive) = (dir.join("store"), dir.join("archive"));
        let options = || Options::new().checkpoint_after_bytes(None);
        let db = options().segment_bytes(SEGMENT_BYTES).retention(Retention::All(Vec::new())).open(&store)?;
        overwrite(&db, going.segments)?;
        db.checkpoint()?;
        db.close()?;
        let archive_of = going.archived.then_some(&*archive);
        let db = options().retention(Retention::Any(Vec::new())).archive(archive_of).open(&store)?;
        let begun = Instant::now();
        let beside = beside_prune(&db)?;
        took.push(begun.elapsed().as_secs_f64());
        gone = gone.min(going.segments.saturating_sub(db.stats().segments));
        // As many as beside it, so that a quantile means the same.
        let (mut alone, mut values) = (histogram()?, Values::new(5));
        while alone.len() < beside.len() {
            timed_put(&db, KEYS, &mut values, &mut alone)?;
        }
        runs[0].push(alone);
        runs[1].push(beside);
        db.close()?;
        fs::remove_dir_all(&store)?;
        if going.archived {
            fs::remove_dir_all(&archive)?;
        }
    }
    let seconds = median(took.into_iter());
    println!("{}: at least {gone} of {} MiB, in {seconds:.1} s", going.what, SEGMENT_BYTES >> 20);
    print_latencies(&rows, &runs);
    Ok(())
}

/// Fills so many segments with a few keys, over and over.
fn overwrite(db: &Db, segments: usize) -> Result<()> {
    let buffered = WriteOptions::new().durability(Durability::Buffered);
    let mut values = Values::new(4);
    while db.stats().segments <= segments {
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
