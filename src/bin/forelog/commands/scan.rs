//! `scan`, `count` and `keyspaces`: what a store holds, in order.

use std::ops::Bound;

use forelog::{Db, Keyspace};

use super::App;
use crate::args::{self, Count, Dir};
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::output::{Cell, Output};
use crate::store;

pub fn run_scan(args: &args::Scan, app: &mut App) -> Result<Outcome, Failure> {
    let globals = &app.globals;
    let request = Scan {
        keys: Keys {
            prefix: globals.optional_bytes(args.prefix.as_ref())?,
            from: globals.optional_bytes(args.from.as_ref())?,
            to: globals.optional_bytes(args.to.as_ref())?,
        },
        limit: args.limit,
        reverse: args.reverse,
        keys_only: args.keys_only,
    };
    let db = store::open_to_read(&args.dir, globals)?;
    let space = store::keyspace_to_read(&db, args.keyspace.name(&app.globals)?.as_deref())?;
    let outcome = scan(&space, request, &mut app.out)?;
    store::leave(db);
    Ok(outcome)
}

pub fn run_count(args: &Count, app: &mut App) -> Result<Outcome, Failure> {
    let keys = Keys { prefix: app.globals.optional_bytes(args.prefix.as_ref())?, ..Keys::default() };
    let db = store::open_to_read(&args.dir, &app.globals)?;
    let space = store::keyspace_to_read(&db, args.keyspace.name(&app.globals)?.as_deref())?;
    let outcome = count(&space, keys, &mut app.out)?;
    store::leave(db);
    Ok(outcome)
}

pub fn run_keyspaces(args: &Dir, app: &mut App) -> Result<Outcome, Failure> {
    let db = store::open_to_read(&args.dir, &app.globals)?;
    let outcome = keyspaces(&db, &mut app.out)?;
    store::leave(db);
    Ok(outcome)
}

/// What a scan is to show.
#[derive(Debug, Default)]
pub struct Scan {
    pub keys: Keys,
    pub limit: Option<usize>,
    pub reverse: bool,
    pub keys_only: bool,
}

/// Which keys are meant: those that meet all of these.
#[derive(Debug, Default)]
pub struct Keys {
    pub prefix: Option<Vec<u8>>,
    /// The first one.
    pub from: Option<Vec<u8>>,
    /// The first one that is not meant any more.
    pub to: Option<Vec<u8>>,
}

impl Keys {
    /// The keys as bounds. Between bounds in the wrong order there is nothing.
    fn bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let after_prefix = self.prefix.as_deref().and_then(after_prefix);
        let low = self.prefix.max(self.from).unwrap_or_default();
        let high = match (after_prefix, self.to) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        (Bound::Included(low), high.map_or(Bound::Unbounded, Bound::Excluded))
    }
}

/// The first key behind all keys that begin so, if there is one.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let (at, byte) = prefix.iter().enumerate().rev().find(|(_, byte)| **byte < u8::MAX)?;
    let mut after = prefix[..at].to_vec();
    after.push(byte + 1);
    Some(after)
}

/// Answers with the entries that are asked for, all of one moment.
pub fn scan(space: &Keyspace, request: Scan, out: &mut Output) -> Result<Outcome, Failure> {
    let named = store::name_of(space).filter(|_| out.format().is_for_machines());
    let columns: &[&str] = match (request.keys_only, named.is_some()) {
        (true, false) => &["key"],
        (true, true) => &["key", "keyspace"],
        (false, false) => &["key", "value"],
        (false, true) => &["key", "value", "keyspace"],
    };
    let mut rows = out.rows(columns)?;
    let entries = space.range(request.keys.bounds());
    let entries: Box<dyn Iterator<Item = _>> =
        if request.reverse { Box::new(entries.rev()) } else { Box::new(entries) };
    let mut cut = false;
    for entry in entries.take(request.limit.unwrap_or(usize::MAX)) {
        interrupt::check()?;
        cut = rows.is_full();
        if cut {
            break;
        }
        let mut cells = vec![Cell::Bytes(entry.key())];
        if !request.keys_only {
            cells.push(Cell::Bytes(entry.value()));
        }
        cells.extend(named.map(Cell::text));
        rows.row(&cells)?;
    }
    rows.finish()?;
    if cut {
        out.say_cut()?;
    }
    Ok(Outcome::Done)
}

/// Answers with the number of keys.
pub fn count(space: &Keyspace, keys: Keys, out: &mut Output) -> Result<Outcome, Failure> {
    let mut count: u64 = 0;
    for _ in space.range(keys.bounds()) {
        count += 1;
        if count.is_multiple_of(1024) {
            interrupt::check()?;
        }
    }
    out.record(&[("count", count.into())])?;
    Ok(Outcome::Done)
}

/// Answers with the names of the keyspaces.
pub fn keyspaces(db: &Db, out: &mut Output) -> Result<Outcome, Failure> {
    let mut rows = out.rows(&["keyspace"])?;
    for name in db.keyspaces() {
        rows.row(&[Cell::Name(name.into())])?;
    }
    rows.finish()?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    //! Shows how a prefix and bounds combine.
    use super::*;

    fn check(prefix: Option<&str>, from: Option<&str>, to: Option<&str>, expected: (&str, Option<&str>)) {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let keys = Keys { prefix: prefix.map(bytes), from: from.map(bytes), to: to.map(bytes) };
        let high = expected.1.map_or(Bound::Unbounded, |high| Bound::Excluded(bytes(high)));
        let expected = (Bound::Included(bytes(expected.0)), high);
        assert_eq!(keys.bounds(), expected, "{prefix:?} {from:?} {to:?}");
    }

    #[test]
    fn bounds() {
        check(None, None, None, ("", None));
        check(Some("user:"), None, None, ("user:", Some("user;")));
        check(Some("user:"), Some("a"), Some("z"), ("user:", Some("user;")));
        check(Some("user:"), Some("user:5"), Some("user:7"), ("user:5", Some("user:7")));
        check(Some("user:"), Some("z"), None, ("z", Some("user;")));
        check(Some("b"), None, Some("a"), ("b", Some("a")));
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
