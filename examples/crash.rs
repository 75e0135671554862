//! Your own code against power cuts: `cargo run --example crash`.
//!
//! The simulated disk keeps what is durable apart from what is merely written. It notes the moment before each call that
//! changes something, and from each of these moments makes disks as a power cut might leave them. Whatever is built on a
//! store can so be tried at every such moment, within a test: here a queue whose jobs must be neither lost nor done twice.

use std::sync::Arc;

use forelog::storage::{OutcomeLimits, SimDisk};
use forelog::{Db, Options, Result, WriteBatch};

fn open(disk: &SimDisk) -> Result<Db> {
    Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).open("queue")
}

/// Takes the first job and notes that it is done. In one batch: two writes would be a mistake, and this would find it.
fn work(db: &Db) -> Result<()> {
    if let Some(job) = db.prefix("job:").next() {
        let mut batch = WriteBatch::new();
        batch.delete(job.key());
        batch.put([b"done:", &job.key()[4..]].concat(), job.value());
        db.write(batch)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let disk = SimDisk::new(1);
    let db = open(&disk)?;
    for number in 0..8 {
        db.put(format!("job:{number}"), vec![b'x'; 700])?;
    }
    disk.record(); // from here on each moment is kept
    for _ in 0..8 {
        work(&db)?;
    }
    db.close()?;

    let (mut moments, mut disks) = (0, 0);
    for moment in disk.take_crash_points() {
        moments += 1;
        // Everything lost, nothing lost, and random mixtures of that.
        for outcome in moment.outcomes(&OutcomeLimits::default(), moments) {
            let db = open(&moment.apply(&outcome))?;
            let (waiting, done) = (db.prefix("job:").count(), db.prefix("done:").count());
            assert_eq!(waiting + done, 8, "a job was lost or done twice: {}", moment.describe());
            disks += 1;
        }
    }
    println!("the power was cut at {moments} moments, in {disks} ways: each job was there, once");
    Ok(())
}
