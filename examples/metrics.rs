//! Figures for a monitoring system, in the text form that Prometheus reads: `cargo run --example metrics`.
//!
//! What can be asked at any time comes from `Db::stats`; what happens and is gone, such as how long a sync took, from the
//! events. A listener is called in the middle of the work, so it only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forelog::event::{Event, Listener};
use forelog::{Db, Options, Stats};

/// The upper bounds of the buckets, in microseconds.
const BOUNDS_US: [u64; 6] = [50, 100, 500, 1_000, 10_000, u64::MAX];

#[derive(Debug, Default)]
struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    sync_us: AtomicU64,
    syncs: [AtomicU64; BOUNDS_US.len()],
}

impl Listener for Counters {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Appended { bytes, .. } => {
                self.records.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(*bytes, Ordering::Relaxed);
            }
            Event::Synced { took, .. } => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.sync_us.fetch_add(us, Ordering::Relaxed);
                if let Some(bucket) = BOUNDS_US.iter().position(|bound| us <= *bound) {
                    self.syncs[bucket].fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}

impl Counters {
    fn export(&self, stats: &Stats) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = format!(
            "forelog_records_total {}\nforelog_appended_bytes_total {}\n",
            get(&self.records),
            get(&self.bytes)
        );
        let mut count = 0;
        for (bound, syncs) in BOUNDS_US.iter().zip(&self.syncs) {
            count += get(syncs);
            let bound =
                if *bound == u64::MAX { "+Inf".to_owned() } else { (*bound as f64 / 1e6).to_string() };
            text += &format!("forelog_sync_seconds_bucket{{le=\"{bound}\"}} {count}\n");
        }
        text += &format!("forelog_sync_seconds_sum {}\n", get(&self.sync_us) as f64 / 1e6);
        text += &format!("forelog_sync_seconds_count {count}\n");
        text += &format!("forelog_keys {}\nforelog_memory_bytes {}\n", stats.keys, stats.memory_bytes);
        text += &format!("forelog_log_bytes {}\n", stats.log_bytes);
        text += &format!("forelog_durable_lsn {}\n", stats.durable_lsn);
        text += &format!("forelog_poisoned {}\n", u8::from(stats.poisoned));
        text
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let counters = Arc::new(Counters::default());
    let db: Db = Options::new().listener(counters.clone()).open(dir.path().join("data"))?;
    for number in 0..100 {
        db.put(format!("key {number}"), "value")?;
    }
    print!("{}", counters.export(&db.stats()));
    db.close()?;
    Ok(())
}
