//! Holds the whole store against `BTreeMap`s: random operations, each answer compared, shrunk by proptest if one
//! differs. The store runs on the simulated disk, so that reopening, kills and power cuts are operations like others.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use forelog::storage::{Outcome, SimDisk};
use forelog::{Db, Durability, Entry, Keyspace, Options, Snapshot, WriteBatch, WriteOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// One map for each keyspace: the default one and another.
type State = [Map; 2];

#[derive(Clone, Debug)]
enum Step {
    Put {
        space: usize,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        space: usize,
        key: Vec<u8>,
    },
    /// Keyspace, key, value or deletion; keys may come twice.
    Batch {
        changes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
        durability: Durability,
    },
    Get {
        space: usize,
        key: Vec<u8>,
    },
    Range {
        space: usize,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        backward: bool,
    },
    /// Takes from both ends of everything with this prefix, in this order.
    Prefix {
        space: usize,
        prefix: Vec<u8>,
        from_the_back: Vec<bool>,
    },
    TakeSnapshot,
    DropSnapshot,
    ReadSnapshot {
        space: usize,
    },
    Mark,
    Sync,
    Reopen,
    Kill,
    PowerCut {
        seed: u64,
    },
}

/// Few keys, with common prefixes and the awkward bytes, so that they meet often.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..4),
        (0..40_u8).prop_map(|number| format!("user:{number:04}:name").into_bytes()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 1000..2000)]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded)]
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![Just(Durability::Sync), Just(Durability::Buffered)]
}

fn step() -> impl Strategy<Value = Step> {
    let space = 0..2_usize;
    prop_oneof![
        20 => (space.clone(), key(), value()).prop_map(|(space, key, value)| Step::Put { space, key, value }),
        8 => (space.clone(), key()).prop_map(|(space, key)| Step::Delete { space, key }),
        8 => (vec((space.clone(), key(), proptest::option::of(value())), 0..12), durability())
            .prop_map(|(changes, durability)| Step::Batch { changes, durability }),
        8 => (space.clone(), key()).prop_map(|(space, key)| Step::Get { space, key }),
        8 => (space.clone(), bound(), bound(), any::<bool>())
            .prop_map(|(space, from, to, backward)| Step::Range { space, from, to, backward }),
        4 => (space.clone(), vec(prop_oneof![Just(b'a'), Just(0xff_u8), Just(b'u')], 0..3), vec(any::<bool>(), 0..60))
            .prop_map(|(space, prefix, from_the_back)| Step::Prefix { space, prefix, from_the_back }),
        3 => Just(Step::TakeSnapshot),
        2 => Just(Step::DropSnapshot),
        4 => space.prop_map(|space| Step::ReadSnapshot { space }),
        1 => Just(Step::Mark),
        1 => Just(Step::Sync),
        2 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

struct Run {
    disk: SimDisk,
    db: Option<Db>,
    spaces: Vec<Keyspace>,
    now: State,
    /// Every state since the last one that is durable, oldest first: what a power cut may go back to.
    since_durable: Vec<State>,
    snapshots: Vec<(Vec<Snapshot>, State)>,
}

fn open(disk: &SimDisk) -> Db {
    Options::new()
        .storage(Arc::new(disk.clone()))
        .segment_bytes(32 << 10)
        .idle_mark(None)
        .spare_ahead(false)
        .open("/store")
        .unwrap()
}

fn pair(entry: &Entry) -> (Vec<u8>, Vec<u8>) {
    (entry.key().to_vec(), entry.value().to_vec())
}

fn all(entries: impl Iterator<Item = Entry>) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries.map(|entry| pair(&entry)).collect()
}

fn pairs(map: &Map) -> Vec<(Vec<u8>, Vec<u8>)> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl Run {
    fn new() -> Run {
        let disk = SimDisk::new(1);
        let mut run = Run {
            db: None,
            disk,
            spaces: Vec::new(),
            now: State::default(),
            since_durable: vec![State::default()],
            snapshots: Vec::new(),
        };
        run.reopen();
        run
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        let db = open(&self.disk);
        self.spaces = vec![db.keyspace("default").unwrap(), db.keyspace("other").unwrap()];
        self.db = Some(db);
    }

    fn changed(&mut self, durability: Durability) {
        if durability == Durability::Sync {
            self.since_durable.clear();
        }
        self.since_durable.push(self.now.clone());
    }

    fn all_durable(&mut self) {
        self.since_durable = vec![self.now.clone()];
    }

    /// The state on disk, as the model knows it after a crash.
    fn state(&self) -> State {
        [0, 1].map(|space| all(self.spaces[space].iter()).into_iter().collect())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put { space, key, value } => {
                self.spaces[space].put(&key, &value).unwrap();
                self.now[space].insert(key, value);
                self.changed(Durability::Sync);
            }
            Step::Delete { space, key } => {
                self.spaces[space].delete(&key).unwrap();
                self.now[space].remove(&key);
                self.changed(Durability::Sync);
            }
            Step::Batch { changes, durability } => self.batch(changes, durability),
            Step::Get { space, key } => {
                let value = self.spaces[space].get(&key).unwrap().map(Vec::from);
                prop_assert_eq!(value.as_ref(), self.now[space].get(&key));
                prop_assert_eq!(self.spaces[space].contains(&key).unwrap(), value.is_some());
            }
            Step::Range { space, from, to, backward } => {
                let range = (from, to);
                let found = self.spaces[space].range(range.clone());
                let found = if backward { all(found.rev()) } else { all(found) };
                let mut expected = pairs(&self.now[space]);
                expected.retain(|(key, _)| std::ops::RangeBounds::contains(&range, key));
                if backward {
                    expected.reverse();
                }
                prop_assert_eq!(found, expected);
            }
            Step::Prefix { space, prefix, from_the_back } => {
                let mut found = self.spaces[space].prefix(&prefix);
                let mut expected = pairs(&self.now[space]);
                expected.retain(|(key, _)| key.starts_with(&prefix));
                let mut expected = expected.into_iter();
                for back in from_the_back {
                    let (found, expected) = match back {
                        true => (found.next_back(), expected.next_back()),
                        false => (found.next(), expected.next()),
                    };
                    prop_assert_eq!(found.as_ref().map(pair), expected);
                }
                prop_assert_eq!(all(found), expected.collect::<Vec<_>>());
            }
            Step::TakeSnapshot => {
                let snapshot = self.db().snapshot();
                let other = snapshot.keyspace(&self.spaces[1]).unwrap();
                self.snapshots.push((vec![snapshot, other], self.now.clone()));
            }
            Step::DropSnapshot => {
                if !self.snapshots.is_empty() {
                    self.snapshots.remove(0);
                }
            }
            Step::ReadSnapshot { space } => {
                for (snapshot, state) in &self.snapshots {
                    prop_assert_eq!(all(snapshot[space].iter()), pairs(&state[space]));
                }
            }
            Step::Mark => {
                self.db().mark().unwrap();
                self.all_durable();
            }
            Step::Sync => {
                self.db().sync().unwrap();
                self.all_durable();
            }
            Step::Reopen => {
                self.db().close().unwrap();
                self.snapshots.clear();
                self.reopen();
                self.all_durable();
            }
            Step::Kill => {
                self.disk = self.disk.kill();
                // The operating system is still there: nothing that was written is lost, synced or not.
                let written = self.now.clone();
                self.crashed();
                prop_assert_eq!(&self.now, &written);
            }
            Step::PowerCut { seed } => {
                self.disk = self.disk.power_cut(&Outcome::Random { seed, rest: None });
                let legal = self.since_durable.clone();
                self.crashed();
                prop_assert!(legal.contains(&self.now), "no such state since the last durable one");
            }
        }
        Ok(())
    }

    fn batch(&mut self, changes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>, durability: Durability) {
        let mut batch = WriteBatch::new();
        for (space, key, value) in changes {
            let keyspace = &self.spaces[space];
            match value {
                Some(value) => {
                    batch.put_in(keyspace, &key, &value);
                    self.now[space].insert(key, value);
                }
                None => {
                    batch.delete_in(keyspace, &key);
                    self.now[space].remove(&key);
                }
            }
        }
        let empty = batch.is_empty();
        self.db().write_with(batch, &WriteOptions::new().durability(durability)).unwrap();
        if !empty {
            self.changed(durability);
        }
    }

    /// Opens what a crash has left, and takes it for the state from now on: opening made it durable.
    fn crashed(&mut self) {
        self.snapshots.clear();
        self.reopen();
        self.now = self.state();
        self.all_durable();
    }
}

const RUNS: u32 = 2000;

#[test]
fn the_store_is_a_map() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(RUNS) };
    let result = TestRunner::new(config).run(&vec(step(), 1..120), |steps| {
        let mut run = Run::new();
        steps.into_iter().try_for_each(|step| run.step(step))?;
        prop_assert_eq!(run.state(), run.now);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{RUNS} random runs of up to 120 steps");
}
