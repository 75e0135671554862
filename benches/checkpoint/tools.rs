//! Keys, values, latencies, and how they are told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use forelog::event::{Event, Listener};
use forelog::{Db, Durability, WriteBatch, WriteOptions};
use hdrhistogram::Histogram;

use super::Result;

/// Knows the LSN of the newest checkpoint, without asking the store for its figures, which takes milliseconds; 0: none
/// since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Newest(pub(crate) AtomicU64);

impl Listener for Newest {
    fn event(&self, event: &Event<'_>) {
        if let Event::Checkpointed { lsn } = event {
            self.0.store(lsn.get(), Ordering::Relaxed);
        }
    }
}

/// A key that looks random and belongs to a number.
pub(crate) fn key(number: u32) -> [u8; 16] {
    fastrand::Rng::with_seed(number.into()).u128(..).to_ne_bytes()
}

/// Values that do not compress: slices of a random pool, so that making them costs next to nothing.
pub(crate) struct Values {
    pub(crate) random: fastrand::Rng,
    pool: Vec<u8>,
}

impl Values {
    pub(crate) fn new(seed: u64) -> Values {
        let mut random = fastrand::Rng::with_seed(seed);
        let pool = (0..1 << 16).map(|_| random.u8(..)).collect();
        Values { random, pool }
    }

    pub(crate) fn next(&mut self) -> &[u8] {
        let at = self.random.usize(..self.pool.len() - 100);
        &self.pool[at..at + 100]
    }

    /// A key of the first so many.
    pub(crate) fn key_below(&mut self, keys: u32) -> [u8; 16] {
        key(self.random.u32(..keys))
    }
}

/// Puts the first so many keys.
pub(crate) fn fill(db: &Db, keys: u32) -> Result<()> {
    let mut values = Values::new(0);
    for first in (0..keys).step_by(1000) {
        let mut batch = WriteBatch::new();
        (first..keys.min(first + 1000)).for_each(|number| batch.put(key(number), values.next()));
        db.write_with(batch, &WriteOptions::new().durability(Durability::Buffered))?;
    }
    Ok(())
}

pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

pub(crate) fn note(latencies: &mut Histogram<u64>, begun: Instant) -> Result<()> {
    Ok(latencies.record(u64::try_from(begun.elapsed().as_nanos())?)?)
}

/// A durable put of one of the keys, with its latency noted.
pub(crate) fn timed_put(
    db: &Db,
    keys: u32,
    values: &mut Values,
    latencies: &mut Histogram<u64>,
) -> Result<()> {
    let key = values.key_below(keys);
    let begun = Instant::now();
    db.put(key, values.next())?;
    note(latencies, begun)
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints rows of latencies, each with its ratios to another row, which is given by its number.
pub(crate) fn print_latencies(rows: &[(&str, Option<usize>)], runs: &[Vec<Histogram<u64>>]) {
    const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
    println!(
        "  {:<44} {:>8} {:>8} {:>8} {:>8}   beside (p50, p99, p99.9)",
        "medians over the rounds", "samples", "p50 us", "p99", "p99.9"
    );
    for ((name, beside), own) in rows.iter().zip(runs) {
        let of = |run: &Histogram<u64>, quantile| run.value_at_quantile(quantile) as f64 / 1000.0;
        print!("  {name:<44} {:>8.0}", median(own.iter().map(|run| run.len() as f64)));
        QUANTILES.iter().for_each(|q| print!(" {:>8.1}", median(own.iter().map(|run| of(run, *q)))));
        if let Some(number) = *beside {
            let ratio = |q: &f64| {
                median(own.iter().zip(&runs[number]).map(|(run, other)| of(run, *q) / of(other, *q)))
            };
            let [p50, p99, p999] = [0, 1, 2].map(|index| ratio(&QUANTILES[index]));
            print!("   x {p50:.2}, {p99:.2}, {p999:.2} of {}", rows[number].0);
        }
        println!();
    }
}
