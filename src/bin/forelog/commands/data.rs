//! `put`, `get`, `del` and `drop`: one operation.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use forelog::storage::RealDisk;
use forelog::{Keyspace, Lsn};

use super::App;
use crate::args::{Drop, Key, Put};
use crate::failure::{Failure, Outcome};
use crate::output::{Cell, Output};
use crate::store;

pub fn run_put(args: &Put, app: &mut App) -> Result<Outcome, Failure> {
    let key = app.globals.bytes(&args.key)?;
    let value = match (&args.value, &args.value_file) {
        (Some(value), _) => app.globals.bytes(value)?,
        (None, Some(file)) => read_value(file)?,
        (None, None) => return Err(Failure::Usage("a value is missing".to_owned())),
    };
    let db = store::open_to_write(&args.dir, &app.globals)?;
    let space = store::keyspace_to_write(&db, args.keyspace.name(&app.globals)?.as_deref())?;
    let outcome = put(&space, &key, &value, &mut app.out)?;
    store::close(db, &app.globals)?;
    Ok(outcome)
}

pub fn run_get(args: &Key, app: &mut App) -> Result<Outcome, Failure> {
    let key = app.globals.bytes(&args.key)?;
    let db = store::open_to_read(&args.dir, &app.globals)?;
    let space = store::keyspace_to_read(&db, args.keyspace.name(&app.globals)?.as_deref())?;
    let outcome = get(&space, &key, &mut app.out)?;
    store::leave(db);
    Ok(outcome)
}

pub fn run_del(args: &Key, app: &mut App) -> Result<Outcome, Failure> {
    let key = app.globals.bytes(&args.key)?;
    let db = store::open_to_write(&args.dir, &app.globals)?;
    let space = store::keyspace_to_read(&db, args.keyspace.name(&app.globals)?.as_deref())?;
    let outcome = del(&space, &key, &mut app.out)?;
    store::close(db, &app.globals)?;
    Ok(outcome)
}

pub fn run_drop(args: &Drop, app: &mut App) -> Result<Outcome, Failure> {
    let name = app.globals.name(&args.name)?;
    let db = store::open_existing(&args.dir, Arc::new(RealDisk), &app.globals)?;
    let outcome = written(db.drop_keyspace(&name)?, &mut app.out)?;
    store::close(db, &app.globals)?;
    Ok(outcome)
}

/// Sets a key and answers with the LSN.
pub fn put(space: &Keyspace, key: &[u8], value: &[u8], out: &mut Output) -> Result<Outcome, Failure> {
    written(space.put(key, value)?, out)
}

/// Removes a key and answers with the LSN.
pub fn del(space: &Keyspace, key: &[u8], out: &mut Output) -> Result<Outcome, Failure> {
    written(space.delete(key)?, out)
}

/// Answers with the LSN of what was written.
pub fn written(lsn: Lsn, out: &mut Output) -> Result<Outcome, Failure> {
    out.record(&[("lsn", lsn.into())])?;
    Ok(Outcome::Done)
}

/// Answers with the value of a key: alone, or in json and csv as a row like one of `scan`.
pub fn get(space: &Keyspace, key: &[u8], out: &mut Output) -> Result<Outcome, Failure> {
    let Some(value) = space.get(key)? else { return Ok(Outcome::Negative) };
    if out.format().is_for_machines() {
        let mut fields = vec![("key", Cell::Bytes(key)), ("value", Cell::Bytes(&value))];
        if let Some(name) = store::name_of(space) {
            fields.push(("keyspace", Cell::text(name)));
        }
        out.record(&fields)?;
    } else {
        out.content(&value)?;
    }
    Ok(Outcome::Done)
}

fn read_value(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut value = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut value);
        return read
            .map(|_| value)
            .map_err(|source| Failure::file("read", Path::new("standard input"), source));
    }
    fs::read(path).map_err(|source| Failure::file("read", path, source))
}
