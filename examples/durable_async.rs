//! Waiting for durability without blocking a thread: `cargo run --example durable_async`.
//!
//! A write of `Durability::Buffered` returns as soon as it is handed to the operating system. Its LSN can then be awaited
//! on any executor, tokio here: the sync happens in the store's background thread, and one sync serves all who wait.

use forelog::{Db, Durability, Lsn, Options};

/// Puts a few keys of one user, and returns the LSN of the last.
fn remember(db: &Db, user: u32) -> forelog::Result<Lsn> {
    db.put(format!("user:{user}:name"), format!("number {user}"))?;
    db.put(format!("user:{user}:seen"), "today")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Options::new().durability(Durability::Buffered).open(dir.path().join("data"))?;

    // Four hundred tasks in one thread. Each waits for its own write, none blocks the others.
    let tasks: Vec<_> = (0..400)
        .map(|user| {
            let db = db.clone();
            tokio::spawn(async move {
                let lsn = remember(&db, user)?;
                db.durable(lsn)?.await?;
                Ok::<Lsn, forelog::Error>(lsn)
            })
        })
        .collect();
    let mut last = Lsn::ZERO;
    for task in tasks {
        last = last.max(task.await??);
    }
    assert!(db.durable_lsn() >= last);
    println!("everything up to LSN {} survives a power cut", db.durable_lsn());
    db.close()?;
    Ok(())
}
