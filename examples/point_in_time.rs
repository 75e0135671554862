//! Back to any moment: `cargo run --example point_in_time`.
//!
//! With an archive the log goes nowhere without a copy, so every state that there ever was can be restored, into a store
//! of its own. The mistake itself, which LSN it has, is found in the log.

use std::path::Path;

use forelog::{Db, Lsn, Op, Options, RestoreTarget};

fn open(path: &Path, archive: &Path) -> forelog::Result<Db> {
    Options::new().segment_bytes(64 << 10).archive(Some(archive)).open(path)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let (path, archive) = (dir.path().join("data"), dir.path().join("archive"));
    let db = open(&path, &archive)?;
    for number in 0..2000 {
        db.put(format!("customer:{number:04}"), vec![b'x'; 100])?;
    }
    db.remove_range("customer:1".."customer:2")?; // the mistake: a thousand customers, in place of one
    db.checkpoint()?; // and the state before it is gone from the store
    for number in 0..500 {
        db.put(format!("order:{number}"), "…")?;
    }
    assert_eq!(db.prefix("customer:").count(), 1000);

    let mut mistake = Lsn::ZERO;
    for change in db.changes_since(Lsn::ZERO)? {
        let change = change?;
        if change.ops().filter(|op| matches!(op, Op::Delete { .. })).count() > 1 {
            mistake = change.lsn;
        }
    }
    println!("LSN {mistake} has removed more than one customer");
    db.close()?;

    let before = dir.path().join("before");
    Db::restore(&path, &before, RestoreTarget::Lsn(mistake.previous()))?;
    let (before, db) = (Db::open(&before)?, open(&path, &archive)?);
    for customer in before.range("customer:1".."customer:2") {
        db.put(customer.key(), customer.value())?;
    }
    println!(
        "{} customers are back, {} orders stay",
        db.prefix("customer:").count(),
        db.prefix("order:").count()
    );
    assert_eq!(db.prefix("customer:").count(), 2000);
    Ok(())
}
