//! What one thread has read of the log and not merged yet: sorted runs to be, one for each keyspace.
//!
//! Keyspaces are created by logged operations like any others, and while segments are read beside each other, a
//! keyspace may be used here before the segment that creates it was read there. So nothing is asked here: tables are
//! made for whatever id comes, and the [`Ledger`] notes who was created and dropped where and used where first, to be
//! judged when everything was read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::{CorruptionKind, Error, Result};
use crate::format::{KeyspaceId, Op, batch_body};
use crate::lsn::Lsn;
use crate::memtable::{Memtable, Run};
use crate::wal::{Failure, Opening, Piece, RecordRef};

/// Versions of some stretches of the log, by keyspace.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Nothing below this LSN is in here.
    pub(super) from: Lsn,
    /// Most operations go here.
    default: Run,
    others: BTreeMap<KeyspaceId, Run>,
    /// What all runs take.
    pub(super) bytes: usize,
    /// Of that, what tombstones take.
    pub(super) tombstone_bytes: usize,
}

impl Gathered {
    pub(super) fn new(from: Lsn) -> Gathered {
        Gathered { from, default: Run::new(), others: BTreeMap::new(), bytes: 0, tombstone_bytes: 0 }
    }

    pub(super) fn runs(self) -> impl Iterator<Item = (KeyspaceId, Run)> {
        [(KeyspaceId::DEFAULT, self.default)]
            .into_iter()
            .chain(self.others)
            .filter(|(_, run)| !run.is_empty())
    }

    fn push(&mut self, id: KeyspaceId, lsn: Lsn, key: &[u8], value: Option<&[u8]>) {
        let run = match id {
            KeyspaceId::DEFAULT => &mut self.default,
            id => self.others.entry(id).or_default(),
        };
        self.bytes -= run.bytes();
        self.tombstone_bytes -= run.tombstone_bytes();
        run.push(lsn, key, value);
        self.bytes += run.bytes();
        self.tombstone_bytes += run.tombstone_bytes();
    }

    /// Takes in the operations of a data record; how many they were.
    ///
    /// # Errors
    /// The body is no batch.
    pub(super) fn take(&mut self, record: &RecordRef<'_>, dir: &Path, ledger: &mut Ledger) -> Result<u64> {
        let lsn = record.header.lsn;
        let mut count = 0;
        for op in batch_body::ops(record.payload) {
            let place = |op| Place { lsn, op, file: record.file.clone(), offset: record.offset };
            let taken = match op {
                Ok(Op::Put { keyspace, key, value }) => {
                    ledger.used(keyspace, || place(count));
                    self.push(keyspace, lsn, key, Some(value));
                    true
                }
                Ok(Op::Delete { keyspace, key }) => {
                    ledger.used(keyspace, || place(count));
                    self.push(keyspace, lsn, key, None);
                    true
                }
                Ok(Op::CreateKeyspace { id, name }) => {
                    ledger.note(Life::Created(id, name.into()), place(count));
                    true
                }
                Ok(Op::DropKeyspace { id }) => {
                    ledger.note(Life::Dropped(id), place(count));
                    true
                }
                Err(_) => false,
            };
            if !taken {
                return Err(place(count).error(dir));
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Where an operation stands. In the order of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) lsn: Lsn,
    op: u64,
    file: Arc<str>,
    offset: u64,
}

impl Place {
    /// The error for a record that passed its checksum and cannot be applied.
    pub(super) fn error(&self, dir: &Path) -> Error {
        let path = dir.join(&*self.file);
        Error::corruption(&path, self.offset, Some(self.lsn), CorruptionKind::BatchBody, None)
    }
}

/// Which keyspaces were created and dropped, and which used.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By where it was done.
    lives: BTreeMap<Place, Life>,
    /// Where each was used first, but for the default one. (Not where last: what a dropped one holds counts no more.)
    first_used: BTreeMap<KeyspaceId, Place>,
}

/// What became of a keyspace.
#[derive(Debug)]
enum Life {
    Created(KeyspaceId, Arc<str>),
    Dropped(KeyspaceId),
}

impl Ledger {
    fn used(&mut self, id: KeyspaceId, place: impl FnOnce() -> Place) {
        if id != KeyspaceId::DEFAULT {
            // One thread reads upwards, so the first is the lowest.
            self.first_used.entry(id).or_insert_with(place);
        }
    }

    fn note(&mut self, life: Life, place: Place) {
        self.lives.insert(place, life);
    }

    /// Takes over what another thread has noted.
    pub(super) fn merge(&mut self, other: Ledger) {
        self.lives.extend(other.lives);
        for (id, place) in other.first_used {
            let first = self.first_used.entry(id).or_insert_with(|| place.clone());
            if place < *first {
                *first = place;
            }
        }
    }

    /// Enters the keyspaces into a catalog, with the tables that were filled for them.
    ///
    /// # Errors
    /// The lowest place that could not have been reached if the log had been applied from its beginning: a keyspace is
    /// created whose id or name is taken, dropped and not there, or used before it is created.
    pub(super) fn settle(
        self,
        catalog: &Catalog,
        mut tables: BTreeMap<KeyspaceId, Arc<Memtable>>,
    ) -> std::result::Result<(), Place> {
        let known: BTreeSet<KeyspaceId> = catalog.all().iter().map(|space| space.id).collect();
        let mut created_at: BTreeMap<KeyspaceId, Place> = BTreeMap::new();
        let mut wrong: Option<Place> = None;
        for (place, life) in self.lives {
            let applied = match &life {
                Life::Created(id, name) => {
                    let table = tables.remove(id).unwrap_or_else(|| catalog.new_table());
                    catalog.create(place.lsn, *id, name, table)
                }
                Life::Dropped(id) => catalog.drop_keyspace(place.lsn, *id),
            };
            if applied.is_err() {
                wrong = Some(place);
                break;
            }
            if let Life::Created(id, _) = life {
                created_at.insert(id, place);
            }
        }
        for (id, place) in self.first_used {
            let made = known.contains(&id) || created_at.get(&id).is_some_and(|created| *created < place);
            if !made && wrong.as_ref().is_none_or(|wrong| place < *wrong) {
                wrong = Some(place);
            }
        }
        wrong.map_or(Ok(()), Err)
    }
}

/// What a reader from the beginning to the end of the log would have met first.
///
/// What is wrong with a keyspace counts only up to the segment that failed: those above may not have been read, and the
/// creation that is missed may be in the rest of it.
pub(super) fn first_error(
    opening: &Opening,
    pieces: std::result::Result<Vec<Piece>, Failure>,
    wrong: Option<Place>,
) -> Result<Vec<Piece>> {
    let error_of = |place: Place| Err(place.error(opening.path()));
    match (pieces, wrong) {
        (Ok(pieces), None) => Ok(pieces),
        (Ok(_), Some(place)) => error_of(place),
        (Err(failure), Some(place))
            if failure.index + 1 >= opening.segments() || place.lsn < opening.base(failure.index + 1) =>
        {
            error_of(place)
        }
        (Err(failure), _) => Err(failure.error),
    }
}

#[cfg(test)]
mod tests {
    //! Shows that the ledgers of several threads say the same in whatever order they are put together, and what is told of
    //! several things that are wrong.
    use super::*;
    use crate::WalOptions;
    use crate::memtable::Tracker;
    use crate::storage::SimDisk;
    use crate::storage::dir::Dir;
    use crate::wal::Given;

    fn place(lsn: u64) -> Place {
        Place { lsn: Lsn::new(lsn), op: 0, file: "file".into(), offset: 0 }
    }

    fn used(id: u32, lsn: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.used(KeyspaceId(id), || place(lsn));
        ledger
    }

    fn created(id: u32, name: &str, lsn: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.note(Life::Created(KeyspaceId(id), name.into()), place(lsn));
        ledger
    }

    fn dropped(id: u32, lsn: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.note(Life::Dropped(KeyspaceId(id)), place(lsn));
        ledger
    }

    fn check(ledgers: [fn() -> Ledger; 3], wrong: Option<u64>) {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut sum = Ledger::default();
            order.into_iter().for_each(|index| sum.merge(ledgers[index]()));
            let catalog = Catalog::new(Tracker::new(Lsn::ZERO));
            let found = sum.settle(&catalog, BTreeMap::new()).err();
            assert_eq!(found.map(|place| place.lsn.get()), wrong, "{order:?}");
        }
    }

    #[test]
    fn ledgers_are_put_together_in_any_order() {
        check([|| created(1, "a", 5), || used(1, 6), || used(1, 7)], None);
        check([|| created(1, "a", 5), || used(1, 4), || used(1, 7)], Some(4));
        check([|| created(1, "a", 5), || created(1, "b", 6), || used(2, 7)], Some(6));
        check([|| created(1, "a", 5), || created(2, "a", 6), || used(3, 2)], Some(2));
        check([|| created(1, "a", 5), || created(2, "b", 6), || used(2, 7)], None);
        check([|| created(1, "a", 5), || dropped(1, 6), || created(2, "a", 7)], None);
        check([|| created(1, "a", 5), || dropped(1, 6), || created(1, "b", 7)], Some(7));
        check([|| created(1, "a", 5), || dropped(1, 4), || used(1, 6)], Some(4));
        check([|| created(1, "a", 5), || dropped(1, 6), || dropped(1, 7)], Some(7));
        check([|| dropped(0, 5), || used(1, 6), || used(2, 7)], Some(5));
    }

    /// Three segments of two records each.
    fn opening() -> Opening {
        let disk = Arc::new(SimDisk::new(1));
        let options = WalOptions::new().storage(disk.clone()).idle_mark(None).spare_ahead(false);
        let wal = options.open("log").unwrap();
        for lsn in 1..=6 {
            wal.append(b"").unwrap();
            if lsn == 2 || lsn == 4 {
                wal.rotate().unwrap();
            }
        }
        drop(wal);
        Opening::for_reading(&Dir::new(disk, Path::new("log")), Given::default()).unwrap()
    }

    /// A keyspace may be missed only because its creation stands in what could not be read.
    #[test]
    fn behind_a_segment_that_failed_nothing_is_wrong_with_keyspaces() {
        let opening = opening();
        assert_eq!(opening.segments(), 3);
        for failed in 0..3 {
            for (segment, wrong) in [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)] {
                let failure = Failure { index: failed, error: Error::Closed };
                let told = first_error(&opening, Err(failure), Some(place(wrong))).unwrap_err();
                assert_eq!(
                    matches!(told, Error::Closed),
                    segment > failed,
                    "{failed} failed, {wrong} is wrong"
                );
            }
            let failure = Failure { index: failed, error: Error::Closed };
            assert!(matches!(first_error(&opening, Err(failure), None), Err(Error::Closed)));
        }
        assert!(matches!(first_error(&opening, Ok(Vec::new()), Some(place(6))), Err(Error::Corruption(_))));
        assert!(first_error(&opening, Ok(Vec::new()), None).is_ok());
    }
}
