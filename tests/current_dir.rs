//! A store that was opened by a relative path went on in whatever directory the process was in by the time that it
//! needed its next segment: acknowledged writes went into another store of the same name, and both could not be opened
//! again.
//!
//! The current directory belongs to the whole process, so this test has one of its own.

#![allow(clippy::unwrap_used)]

use forelog::{Db, Lsn, Options};

#[test]
fn a_store_stays_where_it_was_opened() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = || Options::new().segment_bytes(8192);
    let innocent = options().open(other.path().join("data")).unwrap();
    innocent.put("mine", "1").unwrap();
    innocent.close().unwrap();

    std::env::set_current_dir(one.path()).unwrap();
    let db = options().open("data").unwrap();
    assert_eq!(db.path(), std::path::Path::new("data"), "as it was given");
    std::env::set_current_dir(other.path()).unwrap();
    for key in 0..50_u32 {
        db.put(key.to_be_bytes(), [7; 1000]).unwrap();
    }
    assert_eq!(db.durable_lsn(), Lsn::new(50));
    db.checkpoint().unwrap();
    db.close().unwrap();

    let db = Db::open(one.path().join("data")).unwrap();
    assert_eq!(db.iter().count(), 50);
    let innocent = Db::open(other.path().join("data")).unwrap();
    assert_eq!(innocent.iter().count(), 1);
}
