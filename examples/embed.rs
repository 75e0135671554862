//! The store in a few lines: open, write, read, batch, scan, snapshot, close, and open again.
//!
//! `cargo run --example embed`

use forelog::{Db, WriteBatch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("data");

    let db = Db::open(&path)?;
    let lsn = db.put("user:1", "alice")?;
    println!("user:1 is durable at LSN {lsn}");

    // A batch is seen whole or not at all, by readers and after a crash.
    let mut batch = WriteBatch::new();
    batch.put("user:2", "bob");
    batch.put("user:3", "carol");
    batch.delete("user:1");
    db.write(batch)?;

    // A snapshot stays as it is, whatever is written since.
    let before = db.snapshot();
    db.put("user:2", "bert")?;
    println!("then: {:?}, now: {:?}", before.get("user:2"), db.get("user:2")?);

    for entry in db.prefix("user:").rev() {
        println!("{} = {}", entry.key().escape_ascii(), entry.value().escape_ascii());
    }
    drop(before);
    db.close()?;

    let db = Db::open(&path)?;
    let report = db.recovery_report();
    println!("opened again: {} records, {} keys, in {:?}", report.records, db.iter().count(), report.took);
    Ok(())
}
