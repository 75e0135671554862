//! Puts and gets beside the limit of the disk, in one run: `cargo bench --bench store`.
//!
//! Each figure is the median of interleaved rounds, so that a slow moment of the machine falls on all of them alike.
//! Compare the ratios; absolute figures belong to one machine. Keys have 16 bytes and are random, values 100 bytes.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use forelog::{Db, Durability, Options, WriteBatch};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 5;
const SYNCED_PUTS: u32 = 2_000;
const BATCHES: u32 = 500;
const BUFFERED_PUTS: u32 = 200_000;
const GETS: u32 = 500_000;

fn main() -> Result<()> {
    let dir = tempfile::tempdir_in(".")?;
    let rows: [(&str, Measure); 7] = [
        ("raw write + sync, preallocated", raw_syncs),
        ("durable put, 1 thread", durable_puts),
        ("durable put, 8 threads", durable_puts_of_8),
        ("durable batches of 100, puts", durable_batches),
        ("buffered put, new keys", buffered_puts),
        ("get, 1 thread", gets),
        ("scan, entries", scan),
    ];
    let mut rates = vec![Vec::new(); rows.len()];
    for round in 0..ROUNDS {
        for (row, (name, measure)) in rows.iter().enumerate() {
            let path = dir.path().join(format!("{round}-{row}"));
            rates[row].push(measure(&path)?);
            eprintln!("round {} of {ROUNDS}: {name}", round + 1);
        }
    }
    println!("{:<34} {:>12} {:>10}", "median of 5 rounds", "per second", "to raw");
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    for ((name, _), rate) in rows.iter().zip(&medians) {
        println!("{name:<34} {rate:>12.0} {:>10.2}", rate / medians[0]);
    }
    Ok(())
}

/// Does something with a fresh path and says how often a second it could.
type Measure = fn(&Path) -> Result<f64>;

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}

fn random_key(random: &mut fastrand::Rng) -> [u8; 16] {
    random.u128(..).to_ne_bytes()
}

fn raw_syncs(path: &Path) -> Result<f64> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.set_len(64 << 20)?;
    file.sync_all()?;
    let record = [7; 176];
    let started = Instant::now();
    for number in 0..SYNCED_PUTS {
        file.write_all_at(&record, 4096 + u64::from(number) * 176)?;
        file.sync_data()?;
    }
    Ok(rate(SYNCED_PUTS, started.elapsed()))
}

fn durable_puts(path: &Path) -> Result<f64> {
    let db = Db::open(path)?;
    let mut random = fastrand::Rng::with_seed(1);
    let started = Instant::now();
    for _ in 0..SYNCED_PUTS {
        db.put(random_key(&mut random), [7; 100])?;
    }
    Ok(rate(SYNCED_PUTS, started.elapsed()))
}

fn durable_puts_of_8(path: &Path) -> Result<f64> {
    let db = Db::open(path)?;
    let started = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let put_all = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..SYNCED_PUTS).try_for_each(|_| db.put(random_key(&mut random), [7; 100]).map(|_| ()))
        };
        let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || put_all(seed))).collect();
        for thread in threads {
            thread.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })?;
    Ok(rate(8 * SYNCED_PUTS, started.elapsed()))
}

fn durable_batches(path: &Path) -> Result<f64> {
    let db = Db::open(path)?;
    let mut random = fastrand::Rng::with_seed(1);
    let started = Instant::now();
    for _ in 0..BATCHES {
        let mut batch = WriteBatch::new();
        for _ in 0..100 {
            batch.put(random_key(&mut random), [7; 100]);
        }
        db.write(batch)?;
    }
    Ok(rate(BATCHES * 100, started.elapsed()))
}

fn filled(path: &Path) -> Result<Db> {
    let db = Options::new().durability(Durability::Buffered).open(path)?;
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..BUFFERED_PUTS {
        db.put(random_key(&mut random), [7; 100])?;
    }
    Ok(db)
}

fn buffered_puts(path: &Path) -> Result<f64> {
    let started = Instant::now();
    let db = filled(path)?;
    let took = started.elapsed();
    db.close()?;
    Ok(rate(BUFFERED_PUTS, took))
}

fn gets(path: &Path) -> Result<f64> {
    let db = filled(path)?;
    let mut random = fastrand::Rng::with_seed(1);
    let keys: Vec<_> = (0..BUFFERED_PUTS).map(|_| random_key(&mut random)).collect();
    let started = Instant::now();
    for _ in 0..GETS {
        let key = keys[random.usize(..keys.len())];
        if db.get(key)?.is_none() {
            return Err("a key is missing".into());
        }
    }
    Ok(rate(GETS, started.elapsed()))
}

fn scan(path: &Path) -> Result<f64> {
    let db = filled(path)?;
    let started = Instant::now();
    let seen = db.iter().count();
    Ok(rate(u32::try_from(seen)?, started.elapsed()))
}
