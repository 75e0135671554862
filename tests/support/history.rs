//! A store whose every write is known, and what of it must be there when some LSNs are lost.

use std::collections::BTreeMap;

use forelog::storage::SimDisk;
use forelog::{Db, WriteBatch, WriteOptions, care};

use super::{DIR, by_hand, segments};

/// Keys with their values, `keyspace/key` where it is not the default one.
pub(crate) type State = BTreeMap<String, Option<Vec<u8>>>;

/// A store of four segments without a checkpoint, and what each LSN wrote.
pub(crate) fn history() -> (SimDisk, BTreeMap<u64, State>) {
    let disk = SimDisk::new(1);
    let db = by_hand(&disk).open(DIR).unwrap();
    let users = db.keyspace("users").unwrap();
    let mut written = BTreeMap::new();
    for number in 0..24_u64 {
        let mut batch = WriteBatch::new();
        let (key, value) = (format!("key {}", number % 7), format!("<{number}>").repeat(150).into_bytes());
        let mut state = State::from([(key.clone(), Some(value.clone()))]);
        batch.put(&key, &value);
        if number % 3 == 0 {
            let gone = format!("key {}", (number + 3) % 7);
            batch.delete(&gone);
            state.insert(gone, None);
            batch.put_in(&users, number.to_string(), "x");
            state.insert(format!("users/{number}"), Some(b"x".to_vec()));
        }
        let lsn = db.write_with(batch, &WriteOptions::new()).unwrap();
        written.insert(lsn.get(), state);
    }
    db.close().unwrap();
    assert_eq!(segments(&disk).len(), 4);
    (disk, written)
}

/// What is there if these LSNs are lost. LSN 1 creates the keyspace.
pub(crate) fn without(written: &BTreeMap<u64, State>, lost: &[care::LostRange]) -> BTreeMap<String, Vec<u8>> {
    let is_lost = |lsn: u64| {
        lost.iter()
            .any(|range| range.from_lsn.get() <= lsn && range.to_lsn.is_none_or(|last| lsn <= last.get()))
    };
    let mut state = BTreeMap::new();
    for (_, change) in written.iter().filter(|(lsn, _)| !is_lost(**lsn)) {
        for (key, value) in change {
            match value {
                Some(value) => _ = state.insert(key.clone(), value.clone()),
                None => _ = state.remove(key),
            }
        }
    }
    let renamed = |(key, value): (String, Vec<u8>)| match is_lost(1) {
        true => (key.replace("users/", "recovered-1/"), value),
        false => (key, value),
    };
    state.into_iter().map(renamed).collect()
}

pub(crate) fn state_of(db: &Db) -> BTreeMap<String, Vec<u8>> {
    let mut state = BTreeMap::new();
    for name in db.keyspaces() {
        let space = db.find_keyspace(&name).unwrap();
        for entry in space.range::<&[u8]>(..) {
            let key = String::from_utf8(entry.key().to_vec()).unwrap();
            let key = if name == "default" { key } else { format!("{name}/{key}") };
            state.insert(key, entry.value().to_vec());
        }
    }
    state
}
