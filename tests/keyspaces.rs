//! Shows what dropping a keyspace does and leaves: to handles, snapshots, transactions and feeds; over restarts,
//! checkpoints, restores and repairs; beside writers, and when the disk fails.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forelog::storage::{Fault, FaultKind, MemoryDisk, OperationKind, Outcome, SimDisk};
use forelog::{Db, Error, Keyspace, Lsn, Op, RestoreTarget, WriteBatch, care};
use support::hook_disk::HookDisk;
use support::{ARCHIVE, DIR, by_hand, segment, store_on, until};

/// By keyspace, with its number, and key.
type State = BTreeMap<(String, u32), BTreeMap<String, String>>;

fn state(db: &Db) -> State {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let entries = |space: Keyspace| space.iter().map(|e| (text(e.key()), text(e.value()))).collect();
    let spaces = db.keyspaces().into_iter().map(|name| db.find_keyspace(&name).unwrap());
    spaces.map(|space| ((space.name().to_owned(), space.id().0), entries(space))).collect()
}

fn is_unknown<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::UnknownKeyspace { name }) if name == "users")
}

#[test]
fn what_was_dropped_is_gone_and_its_name_is_free() {
    let db = store_on(&MemoryDisk::new()).open(DIR).unwrap();
    let users = db.keyspace("users").unwrap();
    users.put("a", "1").unwrap();
    db.put("a", "kept").unwrap();
    let before = db.snapshot();
    let lsn = db.drop_keyspace("users").unwrap();
    assert!(db.visible_lsn() >= lsn && db.durable_lsn() >= lsn);
    assert_eq!(db.keyspaces(), ["default"]);
    assert!(db.find_keyspace("users").is_none());
    assert_eq!(db.stats().keyspaces, 1);

    // A handle reads nothing and writes nothing.
    assert!(is_unknown(users.get("a")) && is_unknown(users.put("a", "2")) && is_unknown(users.delete("a")));
    assert!(is_unknown(users.compare_and_swap("a", Some("1"), Some("2"))));
    assert!(is_unknown(users.fetch_update("a", |_| Some("2"))));
    assert_eq!((users.len(), users.approximate_len()), (0, 0));
    assert!(users.first().is_none());
    assert!(users.snapshot().is_empty());
    let mut batch = WriteBatch::new();
    batch.put("in the same batch", "1");
    batch.put_in(&users, "b", "1");
    assert!(is_unknown(db.write(batch)));
    assert!(!db.contains("in the same batch").unwrap(), "all or nothing");
    // A snapshot from before has it.
    assert_eq!(before.keyspace(&users).unwrap().get("a").unwrap(), "1");
    assert!(db.snapshot().keyspace(&users).unwrap().is_empty());

    let again = db.keyspace("users").unwrap();
    assert!(again.is_empty() && again.id() > users.id());
    again.put("b", "2").unwrap();
    assert!(is_unknown(users.get("b")), "a handle is of the keyspace that it was got of");
    assert!(before.keyspace(&again).unwrap().is_empty(), "it was not there then");
    assert!(!before.keyspace(&users).unwrap().contains("b"));

    assert!(is_unknown(db.drop_keyspace("users").and_then(|_| db.drop_keyspace("users"))));
    assert!(matches!(db.drop_keyspace("default"), Err(Error::InvalidOption { .. })));
    assert_eq!(db.get("a").unwrap().unwrap(), "kept");
}

/// Over restarts, with and without a checkpoint; and no number is given out twice, although nothing of the dropped
/// keyspace is left but its number in the checkpoint.
///
/// Broken: src/checkpoint/take.rs: `.chain(gone)` to ``
/// Broken: src/recovery/gather.rs: `Life::Dropped(id) => catalog.drop_keyspace(place.lsn, *id),` to `Life::Dropped(_) => Ok(()),`
#[test]
fn it_stays_gone() {
    for (checkpoint_before, checkpoint_after) in [(false, false), (true, false), (false, true), (true, true)]
    {
        let disk = SimDisk::new(1);
        let db = by_hand(&disk).open(DIR).unwrap();
        db.keyspace("users").unwrap().put("a", "1").unwrap();
        db.keyspace("emails").unwrap().put("a", "1").unwrap();
        if checkpoint_before {
            db.checkpoint().unwrap();
        }
        db.drop_keyspace("emails").unwrap();
        db.put("behind", "it").unwrap();
        if checkpoint_after {
            db.checkpoint().unwrap();
            assert!(db.prune(false).unwrap().removed.is_empty() || checkpoint_before);
        }
        let expected = state(&db);
        assert_eq!(expected.len(), 2);
        db.close().unwrap();
        for round in 0..3_u32 {
            let reader = by_hand(&disk).read_only(true).open(DIR).unwrap();
            assert_eq!(state(&reader), expected);
            drop(reader);
            let db = by_hand(&disk).open(DIR).unwrap();
            assert_eq!(state(&db), expected);
            // Number 1 is there, 2 is gone, and so is the one of each round.
            assert_eq!(db.keyspace("next").unwrap().id().0, 3 + round);
            db.drop_keyspace("next").unwrap();
            if checkpoint_after {
                db.checkpoint().unwrap();
            }
            db.close().unwrap();
        }
        let found = care::verify_on(Arc::new(disk.clone()), DIR).unwrap();
        assert!(found.problems.is_empty(), "{found:?}");
    }
}

/// A checkpoint has what was there at its LSN, dropped since or not; each LSN can be restored.
///
/// Broken: src/checkpoint/take.rs: `catalog.all_at(lsn)` to `catalog.all()`
#[test]
fn each_state_can_be_restored() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).archive(Some(ARCHIVE.as_ref())).open(DIR).unwrap();
    let mut states = vec![(db.visible_lsn(), state(&db))];
    let mut note = |db: &Db| states.push((db.visible_lsn(), state(db)));
    for round in 0..4 {
        for name in ["users", "emails"] {
            let space = db.keyspace(name).unwrap();
            note(&db);
            for key in 0..4 {
                space.put(format!("key {key}"), format!("{name} {round}, {}", "v".repeat(700))).unwrap();
                note(&db);
            }
        }
        if round % 2 == 0 {
            db.checkpoint().unwrap();
        }
        db.drop_keyspace("users").unwrap();
        note(&db);
        db.put("round", format!("{round}")).unwrap();
        note(&db);
        db.checkpoint().unwrap();
        if round % 2 == 1 {
            db.drop_keyspace("emails").unwrap();
            note(&db);
        }
    }
    db.prune(false).unwrap();
    db.mark().unwrap();
    states.dedup();
    let storage = || Arc::new(disk.clone());
    for (lsn, expected) in &states {
        let out = format!("restored {lsn}");
        Db::restore_on(storage(), DIR, &out, RestoreTarget::Lsn(*lsn)).unwrap();
        let restored = by_hand(&disk).open(&out).unwrap();
        assert_eq!(&state(&restored), expected, "LSN {lsn}");
    }
    let copy = db.backup("copy").unwrap();
    assert_eq!(state(&by_hand(&disk).open("copy").unwrap()), state(&db), "{}", copy.lsn);
}

/// Dropping writes to all that a transaction may have read there, keys that were absent and gaps included.
///
/// Broken: src/db/reads.rs: `dropped(space, since).or_else(|| space.table.keys_changed_since(keys, since))` to `space.table.keys_changed_since(keys, since)`
/// Broken: src/db/reads.rs: `dropped(&self.space, since).or_else(|| self.space.table.changed_since(range, since))` to `self.space.table.changed_since(range, since)`
#[test]
fn a_transaction_that_has_read_there_conflicts() {
    let reads: [fn(&forelog::TransactionKeyspace<'_>); 3] = [
        |users| assert!(users.get("a").unwrap().is_some()),
        |users| assert!(users.get("absent").unwrap().is_none()),
        |users| assert_eq!(users.iter().count(), 1),
    ];
    for read in reads {
        let db = store_on(&MemoryDisk::new()).open(DIR).unwrap();
        let users = db.keyspace("users").unwrap();
        users.put("a", "1").unwrap();
        let tx = db.begin();
        read(&tx.keyspace(&users).unwrap());
        tx.put("found", "1").unwrap();
        let dropped = db.drop_keyspace("users").unwrap();
        assert_eq!(tx.commit().unwrap().unwrap_err().lsn, dropped);
        assert!(is_unknown(db.begin().keyspace(&users)));
        // Whoever has only written there is told, too.
        let tx = db.begin();
        let users = db.keyspace("users").unwrap();
        tx.keyspace(&users).unwrap().put("b", "1").unwrap();
        db.drop_keyspace("users").unwrap();
        assert!(is_unknown(tx.commit()));
    }
}

#[test]
fn the_feed_tells_of_it() {
    let db = store_on(&MemoryDisk::new()).open(DIR).unwrap();
    let users = db.keyspace("users").unwrap();
    users.put("a", "1").unwrap();
    let mut of_users = users.changes_since(Lsn::ZERO).unwrap();
    let mut of_others = db.watch_prefix("a").unwrap();
    let lsn = db.drop_keyspace("users").unwrap();
    let last = db.changes_since(Lsn::ZERO).unwrap().last().unwrap().unwrap();
    assert_eq!((last.lsn, last.ops().collect::<Vec<_>>()), (lsn, vec![Op::DropKeyspace { id: users.id() }]));
    assert_eq!(of_users.by_ref().map(|change| change.unwrap().ops().count()).sum::<usize>(), 3);
    assert!(of_others.wait(Duration::ZERO).unwrap().is_none());
}

/// Who follows some keys of a keyspace must hear that they are gone.
#[test]
fn a_prefix_feed_is_told_of_it() {
    let db = store_on(&MemoryDisk::new()).open(DIR).unwrap();
    let users = db.keyspace("users").unwrap();
    let mut feeds = [
        users.watch_prefix("a").unwrap(),
        db.changes_since(db.visible_lsn()).unwrap().only_prefix("a"),
        db.watch_prefix("a").unwrap(),
    ];
    users.put("b", "1").unwrap();
    users.put("a", "1").unwrap();
    db.drop_keyspace("users").unwrap();
    assert_eq!(feeds.each_mut().map(|feed| feed.count()), [2, 2, 0]);
}

/// The log of a store that does nothing but make keyspaces and drop them does not grow for ever, either.
#[test]
fn making_and_dropping_makes_a_checkpoint_due() {
    let db = store_on(&MemoryDisk::new()).checkpoint_after_bytes(Some(16_384)).open(DIR).unwrap();
    until("a checkpoint", || {
        db.keyspace("users").unwrap();
        db.drop_keyspace("users").unwrap();
        db.stats().checkpoint_lsn.is_some()
    });
}

#[test]
fn too_long_a_name_is_called_so() {
    let db = by_hand(&MemoryDisk::new()).segment_bytes(8192).open(DIR).unwrap();
    let name = "n".repeat(5000);
    let Err(Error::TooLarge { what, size, limit }) = db.keyspace(&name) else { panic!() };
    assert_eq!((what, size), ("keyspace's name", 5000));
    assert!(db.keyspace(&name[..usize::try_from(limit).unwrap()]).is_ok());
    assert!(db.keyspace(&name[..=usize::try_from(limit).unwrap()]).is_err());
}

/// A write that comes while a keyspace is being dropped: it is told that the keyspace is gone once that is so for everybody,
/// and not if it comes to nothing.
///
/// Broken: src/db/commit.rs: `self.store.wait_for_drops(self.wal, &write.batch)?;` to ``
#[test]
fn a_write_is_not_told_of_a_drop_that_fails() {
    for fails in [true, false] {
        let disk = HookDisk::new();
        let db = store_on(&disk).open(DIR).unwrap();
        let users = db.keyspace("users").unwrap();
        let latch = disk.stall("sync_data");
        let dropper = {
            let db = db.clone();
            thread::spawn(move || db.drop_keyspace("users"))
        };
        until("the sync", || latch.has_arrived());
        let writer = {
            let (db, users) = (db.clone(), users.clone());
            thread::spawn(move || {
                let told = users.put("a", "1");
                (is_unknown(told), db.keyspaces().len())
            })
        };
        thread::sleep(Duration::from_millis(20));
        assert!(users.get("a").unwrap().is_none(), "it is still there");
        if fails {
            disk.disk.fail(Fault::new(FaultKind::SyncReverted).on(OperationKind::Sync).at(1));
        }
        latch.open();
        assert_eq!(dropper.join().unwrap().is_err(), fails);
        let (told, left) = writer.join().unwrap();
        assert_eq!((told, left), if fails { (false, 2) } else { (true, 1) });
    }
}

/// A drop that the disk has not taken is seen by nobody, and nobody is told of it.
#[test]
fn a_failed_drop_is_not_seen() {
    let disk = SimDisk::new(1);
    let db = store_on(&disk).open(DIR).unwrap();
    let users = db.keyspace("users").unwrap();
    users.put("a", "1").unwrap();
    disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync).at(1));
    assert!(matches!(db.drop_keyspace("users"), Err(Error::Poisoned { .. })));
    assert_eq!(users.get("a").unwrap().unwrap(), "1");
    assert!(users.snapshot().contains("a"));
    assert_eq!(db.keyspaces(), ["default", "users"]);
    assert!(matches!(db.drop_keyspace("users"), Err(Error::Poisoned { .. })));
    drop(db);
    drop(users);
    let disk = disk.power_cut(&Outcome::None);
    assert_eq!(state(&store_on(&disk).open(DIR).unwrap()).len(), 2);
}

/// Writers, checkpoints and snapshots beside drops: what is left is what a restart finds, a batch over two keyspaces is
/// whole, and a snapshot stays as it was.
#[test]
fn beside_everybody() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).open(DIR).unwrap();
    let over = AtomicBool::new(false);
    let mut drops = 0;
    thread::scope(|threads| {
        for thread in 0..3 {
            let (db, over) = (&db, &over);
            threads.spawn(move || {
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let space = db.keyspace("users").unwrap();
                    let mut batch = WriteBatch::new();
                    let (key, value) =
                        (format!("{thread} {}", number % 20), format!("{} {number}", space.id()));
                    batch.put_in(&space, &key, &value);
                    batch.put(&key, &value);
                    match db.write(batch) {
                        Ok(_) => {}
                        Err(Error::UnknownKeyspace { .. }) => {
                            assert!(db.get(&key).unwrap().is_none_or(|found| found != value));
                        }
                        Err(other) => panic!("{other}"),
                    }
                    let snapshot = db.snapshot();
                    let there = snapshot.keyspace(&space).unwrap();
                    let found = || there.iter().map(|e| (e.lsn(), e.key().to_vec())).collect::<Vec<_>>();
                    let before = found();
                    // Each was written together with the same in the default keyspace, so nothing here is unknown there.
                    assert!(before.iter().all(|(_, key)| snapshot.get(key).is_some()));
                    thread::yield_now();
                    assert_eq!(found(), before);
                }
            });
        }
        for round in 0.. {
            drops += u32::from(db.drop_keyspace("users").is_ok());
            if round % 10 == 0 {
                db.checkpoint().unwrap();
            }
            if drops == 200 || round == 1_000_000 {
                break;
            }
            thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(drops, 200);
    let expected = state(&db);
    db.close().unwrap();
    assert_eq!(state(&by_hand(&disk).open(DIR).unwrap()), expected);
    println!("{drops} drops");
}

/// Of a damaged store, what is known to be gone does not come back: by its drop, by a checkpoint, or because another
/// keyspace has got its name. Where nothing says so any more, it is as with a deleted key.
///
/// Broken: src/care/keyspaces.rs: `self.dropped.extend(youngest.insert(name, *id));` to `youngest.insert(name, *id);`
/// Broken: src/care/pieces.rs: `pieces.tables.retain(|id, _| !pieces.keyspaces.is_dropped(*id));` to ``
#[test]
fn a_salvage_brings_nothing_back() {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).open(DIR).unwrap();
    db.keyspace("users").unwrap().put("a", "old").unwrap();
    let dropped = db.drop_keyspace("users").unwrap();
    db.keyspace("users").unwrap().put("b", "new").unwrap();
    let lost = db.put("lost", "x").unwrap();
    db.put("last", "x").unwrap();
    let expected = state(&db);
    db.close().unwrap();
    for damaged in [lost, dropped] {
        let disk = disk.fork();
        let records = care::read_log_on(Arc::new(disk.clone()), DIR).unwrap();
        let record = records.map(Result::unwrap).find(|record| record.lsn == damaged).unwrap();
        let path = segment(1);
        let mut bytes = disk.read_file(&path).unwrap();
        bytes[usize::try_from(record.offset).unwrap() + 48] ^= 1;
        disk.write_file(&path, &bytes);
        let storage: Arc<SimDisk> = Arc::new(disk.clone());
        let plan = care::salvage_on(storage, DIR, "saved").unwrap();
        assert_eq!(plan.lost.len(), 1, "{plan:?}");
        let saved = state(&by_hand(&disk).open("saved").unwrap());
        let mut left = expected.clone();
        if damaged == lost {
            left.get_mut(&("default".to_owned(), 0)).unwrap().remove("lost");
        }
        assert_eq!(saved, left, "without LSN {damaged}");
    }
}
