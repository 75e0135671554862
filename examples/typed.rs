//! Tables of one's own types, with an index that stays true: `cargo run --example typed`.
//!
//! Keys sort as their type does, also tuples and negative numbers; values go through serde. The index is written in the
//! transaction that writes what it leads to.

use forelog::typed::Table;
use forelog::{Db, Error};
use serde::{Deserialize, Serialize};

/// What is stored. A version of its own, so that it may change later without losing what was written before.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    V1 { customer: String, cents: i64 },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("data"))?;
    let orders = Table::<u64, Order>::new(db.keyspace("orders")?);
    let by_customer = Table::<(String, u64), ()>::new(db.keyspace("orders by customer")?);

    let all = [("alice", 1250), ("bob", 300), ("alice", -300)];
    for (number, (customer, cents)) in (1..).zip(all) {
        db.transaction(|tx| {
            orders.within(tx)?.put(&number, &Order::V1 { customer: customer.to_owned(), cents })?;
            by_customer.within(tx)?.put(&(customer.to_owned(), number), &())
        })?;
    }

    // The orders of one customer: a range of the index, in the order of their numbers.
    let alice = "alice".to_owned();
    for entry in by_customer.range((alice.clone(), 0)..=(alice, u64::MAX)) {
        let ((_, number), ()) = entry?;
        println!("{number}: {:?}", orders.get(&number)?);
    }

    // Bytes that are something else are told, not guessed at.
    let wrong = Table::<u64, String>::new(db.keyspace("orders")?);
    match wrong.get(&1) {
        Err(error @ Error::Mistyped { .. }) => println!("{error}"),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}
