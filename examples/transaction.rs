//! Reads and writes that happen as if nobody else were there: `cargo run --example transaction`.
//!
//! Threads move money between accounts while another one sums them up. No money is made or lost, and each sum is right.

use std::error::Error;
use std::thread;

use forelog::typed::Table;
use forelog::{Db, Transaction};

const ACCOUNTS: u32 = 8;
const EACH: i64 = 100;

/// `false` if there is not enough.
fn pay(
    tx: &Transaction,
    accounts: &Table<u32, i64>,
    from: u32,
    to: u32,
    amount: i64,
) -> forelog::Result<bool> {
    let accounts = accounts.within(tx)?;
    let (has, gets) = (accounts.get(&from)?.unwrap_or(0), accounts.get(&to)?.unwrap_or(0));
    if has < amount || from == to {
        return Ok(false);
    }
    accounts.put(&from, &(has - amount))?;
    accounts.put(&to, &(gets + amount))?;
    Ok(true)
}

fn sum(db: &Db, accounts: &Table<u32, i64>) -> forelog::Result<i64> {
    db.transaction(|tx| {
        let accounts = accounts.within(tx)?;
        accounts.iter().map(|entry| entry.map(|(_, balance)| balance)).sum()
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("bank"))?;
    let accounts = Table::<u32, i64>::new(db.keyspace("accounts")?);
    for number in 0..ACCOUNTS {
        accounts.put(&number, &EACH)?;
    }

    thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u32)
            .map(|thread| {
                let (db, accounts) = (&db, &accounts);
                scope.spawn(move || -> forelog::Result<usize> {
                    let mut paid = 0;
                    for step in 0..100 {
                        let (from, to) = ((thread + step) % ACCOUNTS, (thread * 3 + step * 5) % ACCOUNTS);
                        paid += usize::from(db.transaction(|tx| pay(tx, accounts, from, to, 30))?);
                    }
                    Ok(paid)
                })
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(sum(&db, &accounts)?, EACH * i64::from(ACCOUNTS));
        }
        for thread in threads {
            let paid = thread.join().map_err(|_| "a thread has panicked")??;
            println!("a thread has moved money {paid} times");
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    println!("there are {} still", sum(&db, &accounts)?);

    // With a hand on the commit: a conflict is an answer.
    let tx = db.begin();
    pay(&tx, &accounts, 0, 1, 1)?;
    accounts.update(&0, |balance| Some(balance.unwrap_or(0) + 10))?; // somebody else, meanwhile
    match tx.commit()? {
        Ok(lsn) => println!("committed as LSN {lsn}"),
        Err(conflict) => println!("refused: {conflict}"),
    }
    db.close()?;
    Ok(())
}
