//! What the rows do: the disk alone, and a store under some work.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use forelog::{Db, Durability, WriteBatch, WriteOptions};
use hdrhistogram::Histogram;

use super::{Result, Run};

/// Bytes that a put of a 16-byte key and a 100-byte value takes in the log.
const RECORD_BYTES: usize = 168;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Puts of keys that were never there.
    NewKeys,
    /// The same, in batches of 100.
    Batches,
    /// Puts of new keys, each on the condition that it is one.
    Swaps,
    /// Transactions that read one of 10,000 keys and put another one.
    Transactions,
    /// Puts of 10,000 keys that are there, over and over.
    HotKeys,
    /// Gets of keys that are there, a million in all.
    Gets,
    /// One scan over a million entries.
    Scan,
}

/// Writes as many records as operations into a preallocated file, one after the other.
pub(crate) fn raw(path: &Path, file_bytes: u64, synced: bool, zeros: bool, operations: u32) -> Result<Run> {
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
    let step = RECORD_BYTES as u64;
    file.set_len(file_bytes.max(step * u64::from(operations)))?;
    if zeros {
        // In small pieces, which is how Linux then keeps them.
        for at in (0..file_bytes).step_by(1 << 14) {
            file.write_all_at(&[0; 1 << 14], at)?;
        }
    }
    file.sync_all()?;
    let record = [7; RECORD_BYTES];
    let mut latencies = histogram()?;
    let started = Instant::now();
    for number in 0..operations {
        let begun = synced.then(Instant::now);
        file.write_all_at(&record, u64::from(number) * step)?;
        if let Some(begun) = begun {
            file.sync_data()?;
            latencies.record(nanoseconds(begun))?;
        }
    }
    Ok(Run { operations: operations.into(), took: started.elapsed(), latencies })
}

/// Lets threads do some work on a new store, together as many operations as given.
pub(crate) fn run(db: &Db, work: Work, timed: bool, threads: u32, operations: u32) -> Result<Run> {
    match work {
        Work::HotKeys | Work::Transactions => fill(db, 10_000)?,
        Work::Gets | Work::Scan => fill(db, 1_000_000)?,
        Work::NewKeys | Work::Batches | Work::Swaps => {}
    }
    let start = std::sync::Barrier::new(threads as usize + 1);
    let one = |thread: u32| {
        let mut random = Random::new(u64::from(thread) + 1);
        start.wait();
        work_of_one(db, work, timed, operations / threads, &mut random)
    };
    let (begun, histograms) = std::thread::scope(|scope| {
        let one = &one;
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        start.wait();
        let begun = Instant::now();
        (begun, handles.into_iter().map(|handle| handle.join()).collect::<Vec<_>>())
    });
    let took = begun.elapsed();
    let mut latencies = histogram()?;
    for histogram in histograms {
        latencies.add(histogram.map_err(|_| "a thread panicked")??)?;
    }
    Ok(Run { operations: u64::from(operations / threads * threads), took, latencies })
}

fn work_of_one(
    db: &Db,
    work: Work,
    timed: bool,
    operations: u32,
    random: &mut Random,
) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    match work {
        Work::NewKeys => {
            for _ in 0..operations {
                let begun = timed.then(Instant::now);
                db.put(random.key(), random.value())?;
                begun.map_or(Ok(()), |begun| latencies.record(nanoseconds(begun)))?;
            }
        }
        Work::Batches => {
            for _ in 0..operations / 100 {
                let mut batch = WriteBatch::new();
                (0..100).for_each(|_| batch.put(random.key(), random.value()));
                db.write(batch)?;
            }
        }
        Work::Swaps => {
            for _ in 0..operations {
                db.compare_and_swap(random.key(), None::<&[u8]>, Some(random.value()))??;
            }
        }
        Work::Transactions => {
            for _ in 0..operations {
                db.transaction(|tx| {
                    tx.get(numbered(random.below(10_000)))?;
                    tx.put(numbered(random.below(10_000)), random.value())
                })?;
            }
        }
        Work::HotKeys => {
            for _ in 0..operations {
                db.put(numbered(random.below(10_000)), random.value())?;
            }
        }
        Work::Gets => {
            for _ in 0..operations {
                if db.get(numbered(random.below(1_000_000)))?.is_none() {
                    return Err("a key is missing".into());
                }
            }
        }
        Work::Scan => {
            if db.iter().count() != operations as usize {
                return Err("a scan is not whole".into());
            }
        }
    }
    Ok(latencies)
}

/// Puts the first so many numbered keys.
fn fill(db: &Db, keys: u32) -> Result<()> {
    let mut random = Random::new(0);
    for first in (0..keys).step_by(1000) {
        let mut batch = WriteBatch::new();
        (first..first + 1000).for_each(|number| batch.put(numbered(number), random.value()));
        db.write_with(batch, &WriteOptions::new().durability(Durability::Buffered))?;
    }
    Ok(())
}

/// A key that looks random and belongs to a number.
fn numbered(number: u32) -> [u8; 16] {
    fastrand::Rng::with_seed(number.into()).u128(..).to_ne_bytes()
}

/// Keys, and values that do not compress: slices of a random pool, so that making them costs next to nothing.
struct Random {
    random: fastrand::Rng,
    pool: Vec<u8>,
}

impl Random {
    fn new(seed: u64) -> Random {
        let mut random = fastrand::Rng::with_seed(seed);
        let pool = (0..1 << 16).map(|_| random.u8(..)).collect();
        Random { random, pool }
    }

    fn key(&mut self) -> [u8; 16] {
        self.random.u128(..).to_ne_bytes()
    }

    fn value(&mut self) -> [u8; 100] {
        let at = self.random.usize(..self.pool.len() - 100);
        let mut value = [0; 100];
        value.copy_from_slice(&self.pool[at..at + 100]);
        value
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.random.u32(..limit)
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
