//! Following what changes, also after a restart: `cargo run --example change_feed`.
//!
//! An index by city is kept in step with a table of people. It is a store of its own, and keeps in the same batch with
//! each change the LSN up to which it has followed: so each change counts once, whenever the program ends.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use forelog::typed::Table;
use forelog::{Db, Lsn, Op, WriteBatch};

/// Follows until nothing new has come for a moment. Returns how many changes that were.
fn follow(people: &Db, index: &Path) -> Result<usize, Box<dyn Error>> {
    let index = Db::open(index)?;
    let by_city = Table::<(String, String), ()>::new(index.keyspace("by city")?);
    let seen = Table::<String, u64>::new(index.keyspace("seen")?);
    let since = Lsn::new(seen.get("lsn")?.unwrap_or(0));
    let mut changes = people.changes_since(since)?;
    let mut count = 0;
    while let Some(change) = changes.wait(Duration::from_millis(20))? {
        let mut batch = WriteBatch::new();
        for op in change.ops() {
            if let Op::Put { key, value, .. } = op {
                let (name, city) = (String::from_utf8(key.to_vec())?, String::from_utf8(value.to_vec())?);
                by_city.put_in(&mut batch, &(city, name), &())?;
            }
        }
        seen.put_in(&mut batch, "lsn", &change.lsn.get())?;
        index.write(batch)?;
        count += 1;
    }
    println!("from LSN {since} to {}: {count} changes", changes.lsn());
    for entry in by_city.iter() {
        let ((city, name), ()) = entry?;
        println!("  {city}: {name}");
    }
    index.close()?;
    Ok(count)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let people = Db::open(dir.path().join("people"))?;
    let index = dir.path().join("index");
    people.put("alice", "Lund")?;
    people.put("bob", "Oslo")?;
    assert_eq!(follow(&people, &index)?, 2);

    people.put("carol", "Lund")?;
    assert_eq!(follow(&people, &index)?, 1, "it goes on where it was");
    people.close()?;
    Ok(())
}
