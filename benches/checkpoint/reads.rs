//! Gets beside a checkpoint that one thread takes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forelog::{Db, Options};

use super::tools::{Newest, Values, fill, median};
use super::{Arguments, Result};

const ROWS: [&str; 4] = [
    "alone",
    "beside a thread that spins",
    "beside a thread that scans",
    "beside a checkpoint by one thread",
];

pub(crate) fn table(arguments: &Arguments, dir: &Path) -> Result<()> {
    // A store each round: the first checkpoint of a store may be made due by one put, and then one thread takes it.
    let keys = arguments.keys.min(2_000_000);
    let mut rates: [Vec<f64>; 4] = Default::default();
    let mut checkpoints = Vec::new();
    for round in 0..arguments.rounds {
        eprintln!("gets: round {} of {}", round + 1, arguments.rounds);
        let store = dir.join("store");
        let db = Options::new().checkpoint_after_bytes(None).open(&store)?;
        fill(&db, keys)?;
        db.close()?;
        let newest = Arc::new(Newest::default());
        let db = Options::new().checkpoint_after_bytes(Some(1)).listener(newest.clone()).open(&store)?;
        let alone = gets(&db, keys, |took| took > Duration::from_secs(1))?;
        let spinning = beside(
            |ended| while !ended.load(Ordering::Relaxed) {},
            || gets(&db, keys, |took| took > Duration::from_secs(1)),
        )?;
        let scan = beside(
            |ended| while !ended.load(Ordering::Relaxed) && db.iter().count() > 0 {},
            || gets(&db, keys, |took| took > Duration::from_secs(1)),
        )?;
        db.put("one more", "")?;
        let checkpoint = gets(&db, keys, |_| newest.0.load(Ordering::Relaxed) > 0)?;
        checkpoints.push(f64::from(keys) / checkpoint.1.as_secs_f64());
        for (rates, (rate, _)) in rates.iter_mut().zip([alone, spinning, scan, checkpoint]) {
            rates.push(rate);
        }
        db.close()?;
        fs::remove_dir_all(&store)?;
    }
    println!("gets of {keys} keys by one thread");
    for (name, own) in ROWS.iter().zip(&rates) {
        println!(
            "  {name:<44} {:>8.0} a second   x {:.2} of alone",
            median(own.iter().copied()),
            median(own.iter().zip(&rates[0]).map(|(rate, alone)| rate / alone)),
        );
    }
    println!("  the checkpoint wrote {:.0} entries a second", median(checkpoints.into_iter()));
    Ok(())
}

/// Some work in a thread of its own until some other is done.
fn beside<T: Send>(work: impl FnOnce(&AtomicBool) + Send, other: impl FnOnce() -> Result<T>) -> Result<T> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| work(&ended));
        let result = other();
        ended.store(true, Ordering::Relaxed);
        result
    })
}

/// How many gets a second, and for how long.
fn gets(db: &Db, keys: u32, is_over: impl Fn(Duration) -> bool) -> Result<(f64, Duration)> {
    let mut values = Values::new(3);
    let mut count = 0_u32;
    let started = Instant::now();
    while !is_over(started.elapsed()) {
        for _ in 0..10_000 {
            if db.get(values.key_below(keys))?.is_none() {
                return Err("a key is missing".into());
            }
        }
        count += 10_000;
    }
    let took = started.elapsed();
    Ok((f64::from(count) / took.as_secs_f64(), took))
}
