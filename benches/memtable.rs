//! What the memtable costs: both forms, and a `BTreeMap` behind a read-write lock, in one run.
//!
//! ```text
//! cargo bench --bench memtable --no-default-features            a million entries
//! cargo bench --bench memtable --no-default-features -- 100000  fewer
//! ```
//!
//! Random 16-byte keys, 100-byte values. Scans are the best of three rounds, reads and overwrites the lower quartile of
//! many short pieces. Each form runs in a process of its own, so that memory can be read off the resident set.
//! Differences under 30 % are noise on a shared machine.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io;
use std::iter;
use std::ops::Bound;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forelog::Lsn;
use forelog::memtable::{self, KeyRange, MemtableStats, Snapshot, Tracker, plain};
use parking_lot::RwLock;

const FORMS: [&str; 3] = ["unrolled", "plain", "btree"];
const COLUMNS: [&str; 10] =
    ["insert", "get", "get x2", "absent", "hot put", "scan", "rev", "scan 100", "sorted", "over raw"];
const VALUE: [u8; 100] = [7; 100];
const RAW: usize = 16 + 100;
const HOT: usize = 10_000;

type Key = [u8; 16];

fn main() -> io::Result<()> {
    // Cargo passes `--bench`; a form's name means that this is the process for that form.
    let args: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let entries = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    match args.get(1).map(String::as_str) {
        Some("unrolled") => measure::<memtable::Memtable>(entries),
        Some("plain") => measure::<plain::Memtable>(entries),
        Some(_) => measure::<Tree>(entries),
        None => return table(entries),
    }
    Ok(())
}

/// Runs each form in its own process and prints their lines as a table.
fn table(entries: usize) -> io::Result<()> {
    println!(
        "{entries} entries, 16 + 100 bytes; nanoseconds each; bytes over raw per entry (and after hot puts)"
    );
    print!("{:>9}", "");
    COLUMNS.iter().for_each(|column| print!("{column:>9}"));
    println!();
    for form in FORMS {
        let mut command = Command::new(env::current_exe()?);
        let output = command.args([&entries.to_string(), form]).stderr(Stdio::inherit()).output()?;
        println!("{form:>9}{}", String::from_utf8_lossy(&output.stdout).trim_end());
    }
    Ok(())
}

/// What is measured: the least that a store does with its table.
trait Table: Send + Sync {
    fn new() -> Self;
    /// One put with all that belongs to it: applied, published, cleaned up after.
    fn put(&self, lsn: u64, key: &Key);
    fn get(&self, key: &Key) -> bool;
    /// Visits up to `limit` entries from `start`; how many bytes they have.
    fn scan(&self, start: Option<&Key>, limit: usize, reverse: bool) -> usize;
    fn stats(&self) -> Option<MemtableStats>;
}

struct Versions<T> {
    tracker: Arc<Tracker>,
    table: Arc<T>,
}

macro_rules! table {
    ($form:ty) => {
        impl Table for Versions<$form> {
            fn new() -> Self {
                let tracker = Tracker::new(Lsn::ZERO);
                Versions { table: Arc::new(<$form>::new(Arc::clone(&tracker))), tracker }
            }
            fn put(&self, lsn: u64, key: &Key) {
                self.table.apply(Lsn::new(lsn), key, Some(&VALUE));
                self.tracker.publish(Lsn::new(lsn));
                self.table.collect_garbage(1);
            }
            fn get(&self, key: &Key) -> bool {
                self.table.get(key).is_some()
            }
            fn scan(&self, start: Option<&Key>, limit: usize, reverse: bool) -> usize {
                let from = start.map_or(Bound::Unbounded, |key| Bound::Included(key.to_vec()));
                let range: KeyRange = (from, Bound::Unbounded);
                let snapshot: Snapshot = self.tracker.snapshot();
                let range = self.table.range(range, snapshot);
                let bytes = |entry: memtable::Entry| entry.key().len() + entry.value().len();
                if reverse {
                    range.rev().take(limit).map(bytes).sum()
                } else {
                    range.take(limit).map(bytes).sum()
                }
            }
            fn stats(&self) -> Option<MemtableStats> {
                Some(self.table.stats())
            }
        }

        impl Form for $form {
            type Table = Versions<$form>;
        }
    };
}

trait Form {
    type Table: Table;
}

table!(memtable::Memtable);
table!(plain::Memtable);

/// The yardstick: no versions, no snapshots, one lock.
struct Tree(RwLock<BTreeMap<Key, Arc<[u8]>>>);

impl Table for Tree {
    fn new() -> Self {
        Tree(RwLock::new(BTreeMap::new()))
    }
    fn put(&self, _lsn: u64, key: &Key) {
        self.0.write().insert(*key, Arc::from(VALUE.as_slice()));
    }
    fn get(&self, key: &Key) -> bool {
        self.0.read().get(key).cloned().is_some()
    }
    fn scan(&self, start: Option<&Key>, limit: usize, reverse: bool) -> usize {
        let tree = self.0.read();
        let range = tree.range(start.copied().unwrap_or_default()..);
        let bytes = |(key, value): (&Key, &Arc<[u8]>)| key.len() + value.clone().len();
        if reverse { range.rev().take(limit).map(bytes).sum() } else { range.take(limit).map(bytes).sum() }
    }
    fn stats(&self) -> Option<MemtableStats> {
        None
    }
}

impl Form for Tree {
    type Table = Tree;
}

fn measure<F: Form>(entries: usize) {
    let mut rng = fastrand::Rng::with_seed(42);
    let keys: Vec<Key> = (0..entries).map(|_| rng.u128(..).to_be_bytes()).collect();
    let mut order = keys.clone();
    rng.shuffle(&mut order);
    let absent: Vec<Key> = (0..entries).map(|_| rng.u128(..).to_be_bytes()).collect();

    let before = resident();
    let table = F::Table::new();
    let mut lsn = 0;
    let mut put = |table: &F::Table, key: &Key| {
        lsn += 1;
        table.put(lsn, key);
    };

    let insert = time(&keys, |key| put(&table, key));
    let memory = resident().saturating_sub(before) / entries;
    let get = calm(3, &order, |key| assert!(table.get(key)));
    let get_two = best(|| {
        time_whole(entries, || {
            std::thread::scope(|scope| {
                for half in order.chunks(entries.div_ceil(2)) {
                    let table = &table;
                    scope.spawn(move || half.iter().for_each(|key| assert!(table.get(key))));
                }
            });
        })
    });
    let miss = calm(3, &absent, |key| assert!(!table.get(key)));
    let scan = best(|| time_whole(entries, || table.scan(None, usize::MAX, false)));
    let reverse = best(|| time_whole(entries, || table.scan(None, usize::MAX, true)));
    let scans = &order[..entries.div_ceil(50)];
    let scan_100 = calm(3, scans, |key| assert!(table.scan(Some(key), 100, false) > 0));
    let hot_keys = &keys[..HOT.min(entries)];
    let hot: Vec<Key> = (0..entries).map(|_| hot_keys[rng.usize(..hot_keys.len())]).collect();
    let overwrite = calm(1, &hot, |key| put(&table, key));
    let after = resident().saturating_sub(before) / entries;
    eprintln!("{:?}", table.stats());

    let mut sorted = keys;
    sorted.sort_unstable();
    let second = F::Table::new();
    let ordered = time(&sorted, |key| put(&second, key));

    for nanos in [insert, get, get_two, miss, overwrite, scan, reverse, scan_100, ordered] {
        print!("{nanos:>9}");
    }
    println!("{:>9}", format!("{}/{}", memory.saturating_sub(RAW), after.saturating_sub(RAW)));
    // Taking a million entries apart takes a second and shows nothing.
    std::process::exit(0);
}

/// The lower quartile of a hundred pieces of each round: what a call costs while nobody else is at work. For work whose
/// cost does not change as it goes on.
fn calm(rounds: usize, keys: &[Key], mut work: impl FnMut(&Key)) -> u128 {
    let mut pieces: Vec<u128> = Vec::new();
    for _ in 0..rounds {
        pieces.extend(keys.chunks(keys.len().div_ceil(100)).map(|piece| time(piece, &mut work)));
    }
    pieces.sort_unstable();
    pieces[pieces.len() / 4]
}

/// The calmest of three rounds.
fn best(round: impl FnMut() -> u128) -> u128 {
    iter::repeat_with(round).take(3).min().unwrap_or(0)
}

fn time(keys: &[Key], work: impl FnMut(&Key)) -> u128 {
    time_whole(keys.len(), || keys.iter().for_each(work))
}

fn time_whole<T>(count: usize, work: impl FnOnce() -> T) -> u128 {
    let start = Instant::now();
    black_box(work());
    each(start.elapsed(), count)
}

fn each(elapsed: Duration, count: usize) -> u128 {
    elapsed.as_nanos() / u128::try_from(count.max(1)).unwrap_or(1)
}

/// The resident set in bytes (0 where the system does not tell).
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
