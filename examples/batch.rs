//! Writes that belong together, over several keyspaces: `cargo run --example batch`.
//!
//! A batch is one record of the log, so it is there whole or not at all: for readers, after a power cut, and in the change
//! feed. It is also the way to write much: one sync for all of it.

use forelog::{Error, Options, WriteBatch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Options::new().segment_bytes(1 << 20).open(dir.path().join("data"))?;
    let (users, by_mail) = (db.keyspace("users")?, db.keyspace("users by mail")?);

    // A record and its entry in an index: never the one without the other.
    let mut batch = WriteBatch::new();
    batch.put_in(&users, "1", "alice");
    batch.put_in(&by_mail, "alice@example.org", "1");
    let lsn = db.write(batch)?;
    println!("both were written by LSN {lsn}");

    // Of several changes to one key the last one counts.
    let mut batch = WriteBatch::new();
    batch.put_in(&users, "2", "bob");
    batch.delete_in(&users, "2");
    db.write(batch)?;
    assert!(!users.contains("2")?);

    // A thousand puts, one sync.
    let mut batch = WriteBatch::new();
    for number in 0..1000 {
        batch.put_in(&users, format!("{number:04}"), "somebody");
    }
    println!("{} bytes in one record", batch.encoded_bytes());
    db.write(batch)?;

    // A record does not reach over the end of a segment: what is too long for one is refused before anything is logged.
    let mut batch = WriteBatch::new();
    batch.put("large", vec![0; 2 << 20]);
    match db.write(batch) {
        Err(Error::TooLarge { what, size, limit }) => println!("{what}: {size} bytes, {limit} are possible"),
        other => return Err(format!("{other:?}").into()),
    }
    println!("{} users, {} mail addresses", users.len(), by_mail.len());
    Ok(())
}
