//! Shows that a typed table gives back what was put in, in the order of its type, and tells of what is not of its type.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use forelog::storage::MemoryDisk;
use forelog::typed::Table;
use forelog::{Db, Error, WriteBatch};
use serde::{Deserialize, Serialize};
use support::{DIR, store_on};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: Option<u32>,
    tags: BTreeMap<String, f64>,
}

fn order(item: &str) -> Order {
    Order { item: item.to_owned(), count: Some(7), tags: BTreeMap::from([("price".to_owned(), 1.5)]) }
}

type Orders = Table<(String, i32), Order>;

fn open() -> (Db, Orders) {
    let db = store_on(&MemoryDisk::new()).open(DIR).unwrap();
    let orders = Table::new(db.keyspace("orders").unwrap());
    (db, orders)
}

#[test]
fn what_was_put_comes_back_in_the_order_of_its_type() {
    let (db, orders) = open();
    let mut batch = WriteBatch::new();
    let keys = [("a", -300), ("a", -1), ("a", 2), ("a", 300), ("a\0", 1), ("ab", 0)]
        .map(|(name, n)| (name.to_owned(), n));
    for key in keys.iter().rev() {
        orders.put_in(&mut batch, key, &order(&key.0)).unwrap();
    }
    orders.delete_in(&mut batch, &("b".to_owned(), 1));
    db.write(batch).unwrap();
    let all: Vec<_> = orders.iter().map(Result::unwrap).collect();
    assert!(all.iter().map(|(key, _)| key).eq(&keys), "{all:?}");
    assert!(all.iter().all(|(key, value)| *value == order(&key.0)));
    let some = orders.range(("a".to_owned(), 0)..("ab".to_owned(), i32::MIN)).rev();
    assert_eq!(some.map(|entry| entry.unwrap().0.1).collect::<Vec<_>>(), [1, 300, 2]);
    let snapshot = orders.keyspace().snapshot();
    assert!(orders.contains(&keys[0]).unwrap());
    orders.delete(&keys[0]).unwrap();
    assert_eq!((orders.get(&keys[0]).unwrap(), orders.iter().count()), (None, 5));
    assert_eq!(orders.range_at(&snapshot, ..).count(), 6);
    assert_eq!(format!("{orders:?}"), r#"Table("orders")"#);
}

#[test]
fn within_a_transaction_own_writes_are_there() {
    let (db, orders) = open();
    let key = |number| ("a".to_owned(), number);
    orders.put(&key(1), &order("tea")).unwrap();
    let count = db
        .transaction(|tx| {
            let orders = orders.within(tx)?;
            let mut tea = orders.get(&key(1))?.unwrap();
            tea.count = None;
            orders.put(&key(2), &tea)?;
            orders.delete(&key(1))?;
            assert_eq!(orders.range(key(0)..).map(|entry| entry.unwrap().0.1).collect::<Vec<_>>(), [2]);
            Ok(orders.iter().count())
        })
        .unwrap();
    assert_eq!((count, orders.get(&key(2)).unwrap().unwrap().count), (1, None));
    assert_eq!(orders.update(&key(9), |old| old).unwrap(), None, "nothing of nothing");
    let (_, others) = open();
    assert!(matches!(others.within(&db.begin()).unwrap_err(), Error::UnknownKeyspace { .. }));
}

/// What the documentation advises: versions in an enum. And what becomes of those who do otherwise.
#[test]
fn schemas_change() {
    let (db, _) = open();
    #[derive(Serialize, Deserialize)]
    enum May {
        V1 { name: String },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum June {
        V1 { name: String },
        V2 { name: String, mail: Option<String> },
    }
    let space = db.keyspace("users").unwrap();
    Table::<u8, May>::new(space.clone()).put(&1, &May::V1 { name: "alice".to_owned() }).unwrap();
    let users = Table::<u8, June>::new(space.clone());
    assert_eq!(users.get(&1).unwrap(), Some(June::V1 { name: "alice".to_owned() }));
    users.put(&2, &June::V2 { name: "bob".to_owned(), mail: None }).unwrap();
    let older = Table::<u8, May>::new(space.clone());
    assert!(matches!(older.get(&2), Err(Error::Mistyped { .. })), "an old program meets a new value");

    // A field that was just added, removed, or made another: told, not guessed.
    #[derive(Serialize, Deserialize)]
    struct Longer(String, u32, String);
    #[derive(Serialize, Deserialize)]
    struct Shorter(String);
    Table::<u8, (String, u32)>::new(space.clone()).put(&3, &("carol".to_owned(), 7)).unwrap();
    let Err(longer) = Table::<u8, Longer>::new(space.clone()).get(&3) else { panic!() };
    let Err(shorter) = Table::<u8, Shorter>::new(space.clone()).get(&3) else { panic!() };
    assert!(
        longer.to_string().contains("the value of key \\x03 is none: the bytes end too early"),
        "{longer}"
    );
    assert!(shorter.to_string().contains("1 bytes are left over"), "{shorter}");
    // Nine bytes that claim four gigabytes.
    space.put([4], [0xfd, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).unwrap();
    assert!(Table::<u8, Vec<u64>>::new(space.clone()).get(&4).is_err());

    // A key of another type, and the entries behind it.
    space.put("not an u8", "").unwrap();
    let numbers = Table::<u8, ()>::new(space.clone());
    let entries: Vec<_> = numbers.iter().collect();
    assert_eq!(entries.len(), 5);
    let reason = entries.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(reason.contains("a table of u8: the key not an u8 is none"), "{reason}");
    assert!(numbers.iter().next_back().unwrap().is_err());
}

#[test]
fn a_type_that_cannot_be_encoded_is_told() {
    #[derive(Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let (db, _) = open();
    let table = Table::<u8, Never>::new(db.keyspace("k").unwrap());
    let reason = table.put(&1, &Never).unwrap_err().to_string();
    assert!(reason.contains("keyspace k is used as a table of"), "{reason}");
    assert!(reason.ends_with("Never: not today; nothing was written"), "{reason}");
    assert!(table.keyspace().is_empty());
}
