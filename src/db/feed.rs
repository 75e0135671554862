//! The change feed: every batch, in the order of the log, to be followed by other programs or other parts of this one.
//!
//! ```text
//!   archive          log                              durable   visible
//!   1 ………… 99 │ 100 ……………………………………… 240 │ 241 242      ▲         ▲
//!             └ pinned: stays while it is to be read    └ given out up to the lower of the two
//! ```
//!
//! It is read from the log's files, not copied on the way in: writers do nothing for it, and however far behind a reader
//! is, nothing piles up in memory. Only what is durable is given out, so what a reader has acted on is never taken back
//! by a crash; and only what is visible, so that it finds in the store what it was told. The LSN of the last change is
//! all that a reader must keep to go on after a restart.
//!
//! Not here: what retention removed and no archive has ([`Error::Compacted`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::store::Store;
use super::{Db, Keyspace};
use crate::error::{CorruptionKind, Error, Result};
use crate::format::record::RecordKind;
use crate::format::{KeyspaceId, Op, batch_body};
use crate::lsn::Lsn;
use crate::recovery::Source;
use crate::wal::{LogReader, Record, Records, Wal, check_given_out, look_again};

/// A batch that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its LSN: [`Db::changes_since`] goes on behind it.
    pub lsn: Lsn,
    /// When it was logged, in microseconds since 1970-01-01 UTC; never below the time of an earlier change.
    pub time_us: u64,
    body: Vec<u8>,
    wanted: Wanted,
}

impl Change {
    /// What was put and deleted, and which keyspaces were created and dropped; a key comes once. Of a feed that was
    /// narrowed, what is wanted of it.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        // Whether it can be decoded was seen when it was read.
        batch_body::ops(&self.body).flatten().filter(|op| self.wanted.has(op))
    }
}

/// Which operations a feed gives out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    keyspace: Option<KeyspaceId>,
    /// A key begins with each of them. Empty ones are left out.
    prefixes: Vec<Vec<u8>>,
}

impl Wanted {
    fn of(keyspace: KeyspaceId) -> Wanted {
        Wanted { keyspace: Some(keyspace), prefixes: Vec::new() }
    }

    fn only(mut self, prefix: &[u8]) -> Wanted {
        self.prefixes.extend((!prefix.is_empty()).then(|| prefix.to_vec()));
        self
    }

    fn has(&self, op: &Op<'_>) -> bool {
        let (keyspace, is_wanted) = match op {
            Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => {
                (*keyspace, self.prefixes.iter().all(|prefix| key.starts_with(prefix)))
            }
            Op::CreateKeyspace { id, .. } => (*id, self.prefixes.is_empty()),
            // It takes the keys that begin so with all others.
            Op::DropKeyspace { id } => (*id, true),
        };
        is_wanted && self.keyspace.is_none_or(|wanted| wanted == keyspace)
    }
}

/// The changes of a store from some LSN on, in their order, each once: see [`Db::changes_since`].
///
/// As an iterator it ends at the last change that is durable and visible; asked again later, it goes on from there.
/// [`Changes::wait`] waits for the next one.
///
/// While it lives, what it has not read yet stays in the log, whatever the retention policy says.
///
/// ```
/// use forelog::{Change, Changes, Db, Lsn};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let mut users: Changes = db.changes_since(Lsn::ZERO)?.only_prefix("user:");
/// let lsn = db.put("user:1", "alice")?;
/// let last = db.put("other", "1")?;
/// assert!(db.visible_lsn().distance_from(users.lsn()) >= 2); // so far it is behind
/// let change: Change = users.next().unwrap()?;
/// assert_eq!((change.lsn, change.ops().count()), (lsn, 1));
/// assert!(users.next().is_none());
/// assert!(users.lsn() >= last); // what was not wanted is behind it, too
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Changes {
    store: Arc<Store>,
    /// What is no longer in the log, or all there is of a store that was opened for reading.
    before: Option<LogReader>,
    /// From where on the log is read; `None` for a store that was opened for reading.
    log: Option<(Lsn, Records)>,
    /// All below was given out, or is not wanted.
    next: Lsn,
    wanted: Wanted,
    /// A record that holds no batch, or one of the archive that cannot be read: the feed does not get past it.
    failed: Option<Error>,
    /// Where the files were looked at once more. What goes wrong there again is told.
    looked_at: Option<Lsn>,
}

impl Db {
    /// The changes behind an LSN, oldest first: from [`Lsn::ZERO`] on, all; from that of the last change that was seen,
    /// also in an earlier run of the program, what came after it. They are read from the log and, where that no longer
    /// has them, from the archive.
    ///
    /// # Errors
    /// [`Error::Compacted`] if neither has them any more: then begin with a [`snapshot`](Db::snapshot), wait until its LSN is
    /// durable, and go on from there. [`Error::InvalidOption`] for an LSN that this store has not given out: it is one of another store, or of one
    /// that was set back. [`Error::Io`], [`Error::Closed`]; what is wrong with the archive.
    ///
    /// ```
    /// use forelog::{Db, Lsn, Op};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// db.put("a", "1")?;
    /// db.delete("a")?;
    /// let mut seen = Lsn::ZERO;
    /// for change in db.changes_since(seen)? {
    ///     let change = change?;
    ///     for op in change.ops() {
    ///         match op {
    ///             Op::Put { key, value, .. } => assert_eq!((key, value), (&b"a"[..], &b"1"[..])),
    ///             Op::Delete { key, .. } => assert_eq!(key, b"a"),
    ///             other => panic!("{other:?}"),
    ///         }
    ///     }
    ///     seen = change.lsn; // to be kept, best together with what was done with the change
    /// }
    /// assert_eq!(seen, Lsn::new(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn changes_since(&self, lsn: Lsn) -> Result<Changes> {
        Changes::new(self.store(), lsn.next(), Wanted::default())
    }

    /// The changes from now on of those keys of the default keyspace that begin so.
    ///
    /// # Errors
    /// As [`Db::changes_since`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use forelog::Db;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path().join("data"))?;
    /// let mut jobs = db.watch_prefix("job:")?;
    /// db.put("other", "1")?;
    /// let lsn = db.put("job:7", "new")?;
    /// let change = jobs.wait(Duration::from_secs(10))?;
    /// assert_eq!(change.map(|change| change.lsn), Some(lsn));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Changes> {
        let wanted = Wanted::of(KeyspaceId::DEFAULT).only(prefix.as_ref());
        Changes::new(self.store(), self.visible_lsn().next(), wanted)
    }
}

impl Keyspace {
    /// The changes of this keyspace behind an LSN, oldest first. As [`Db::changes_since`].
    ///
    /// # Errors
    /// As [`Db::changes_since`].
    pub fn changes_since(&self, lsn: Lsn) -> Result<Changes> {
        Changes::new(self.store(), lsn.next(), Wanted::of(self.id()))
    }

    /// The changes from now on of those keys that begin so; and that the keyspace was dropped, with which it ends.
    ///
    /// # Errors
    /// As [`Db::changes_since`].
    pub fn watch_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Changes> {
        let wanted = Wanted::of(self.id()).only(prefix.as_ref());
        Changes::new(self.store(), self.store().tracker.visible().next(), wanted)
    }
}

impl Changes {
    fn new(store: &Arc<Store>, next: Lsn, wanted: Wanted) -> Result<Changes> {
        store.check_open()?;
        check_given_out(next.previous(), store.last_lsn())?;
        let store = store.clone();
        let Some(wal) = &store.wal else {
            let before = Changes::without_log(&store, next)?;
            return Ok(Changes { store, before, log: None, next, wanted, failed: None, looked_at: None });
        };
        // ORDER: the log first. From here on it keeps what it has, and what it no longer had is in the archive.
        let (oldest, records) = loop {
            let from = next.max(wal.oldest_lsn());
            match wal.read_from(from) {
                Err(Error::Compacted { .. }) => {}
                records => break (from, records?),
            }
        };
        let before = if next < oldest { Some(Changes::archived(&store, next, oldest)?) } else { None };
        Ok(Changes {
            log: Some((oldest, records)),
            before,
            next,
            wanted,
            failed: None,
            looked_at: None,
            store,
        })
    }

    /// What a store that was opened for reading, and its archive, have from `next` on; of that, what is proven to be
    /// durable. Of what a killed writer has left a power cut may yet take the rest, and its LSNs be given out again.
    fn without_log(store: &Store, next: Lsn) -> Result<Option<LogReader>> {
        let (source, reader) = look_again(&store.dir, |_| {
            let target = store.options().checkpoints.archive_target.as_ref();
            let source = Source::with_target(&store.dir, target, None)?;
            let reader = source.plan(true).map_err(|error| source.told(error))?;
            Ok((source, reader))
        })?;
        let oldest = source.bases.first().copied().unwrap_or(Lsn::MAX);
        let reader = reader.map(|reader| Changes::skip(reader, &source, next));
        if next < oldest {
            return Err(source.away.unwrap_or(Error::Compacted { oldest }));
        }
        Ok(reader)
    }

    /// What the archive has before the log begins with `oldest`.
    fn archived(store: &Store, next: Lsn, oldest: Lsn) -> Result<LogReader> {
        let compacted = |oldest| Err(Error::Compacted { oldest });
        let Some(upkeep) = &store.upkeep else { return compacted(oldest) };
        let target = store.options().checkpoints.archive_target.as_ref();
        let source = Source::of_archive(&store.dir, target, &upkeep.manifest(), oldest.previous())?;
        let Some(source) = source else { return compacted(oldest) };
        let reader = source.plan(false).map_err(|error| source.told(error))?;
        match reader.filter(|reader| reader.last_lsn() >= oldest.previous()) {
            None => compacted(oldest),
            Some(reader) => match source.bases.first() {
                Some(base) if *base > next => compacted(*base),
                _ => Ok(Changes::skip(reader, &source, next)),
            },
        }
    }

    fn skip(reader: LogReader, source: &Source, next: Lsn) -> LogReader {
        reader.of_trail(&source.shown, None).skip_segments_before(next)
    }

    /// Leaves only the changes of keys that begin so, of those that were wanted so far; and what drops a keyspace, and its keys
    /// with it.
    #[must_use]
    pub fn only_prefix(mut self, prefix: impl AsRef<[u8]>) -> Changes {
        self.wanted = self.wanted.only(prefix.as_ref());
        self
    }

    /// Everything up to this LSN was given out, or was not wanted: from here another feed goes on.
    pub fn lsn(&self) -> Lsn {
        self.next.previous()
    }

    /// The next change; waits for it if there is none yet. `None` if the time is up. (To a store that was opened for reading
    /// nothing more comes: there the iterator says sooner that this was all.)
    ///
    /// # Errors
    /// [`Error::Poisoned`] if there will be no other one before the store is opened again; [`Error::Closed`];
    /// [`Error::Io`], [`Error::Corruption`] of the file that is read. Asked again it tries again (or, where it reads the
    /// archive, or a store that was opened for reading, says the same again); it never goes on behind what cannot be read.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Change>> {
        let began = Instant::now();
        loop {
            if let Some(change) = self.read()? {
                return Ok(Some(change));
            }
            let wal = self.store.wal.as_deref();
            wal.map_or(Ok(()), Wal::check_poison)?;
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            let is_there =
                || wal.is_some() && self.next <= self.store.durable().min(self.store.tracker.visible());
            let is_over = || self.store.check_open().is_err() || wal.is_some_and(Wal::is_poisoned);
            self.store.wait_moved(left, || is_there() || is_over());
        }
    }

    /// The next change that is wanted, if there is one yet.
    fn read(&mut self) -> Result<Option<Change>> {
        self.store.check_open()?;
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while let Some(record) = self.read_record()? {
            let mut is_wanted = false;
            if record.kind == RecordKind::Data {
                for op in batch_body::ops(&record.payload) {
                    let Ok(op) = op else { return Err(self.stop_at(&record)) };
                    is_wanted |= self.wanted.has(&op);
                }
            }
            self.next = record.lsn.next();
            if is_wanted {
                let Record { lsn, time_us, payload: body, .. } = record;
                return Ok(Some(Change { lsn, time_us, body, wanted: self.wanted.clone() }));
            }
        }
        Ok(None)
    }

    fn read_record(&mut self) -> Result<Option<Record>> {
        if self.next > self.store.tracker.visible() {
            return Ok(None);
        }
        let begin = self.log.as_ref().map_or(Lsn::MAX, |(begin, _)| *begin);
        while let Some(reader) = self.before.as_mut().filter(|_| self.next < begin) {
            match reader.next() {
                Some(record) if record.as_ref().is_ok_and(|record| record.lsn < self.next) => {}
                // Beside a writer: a segment was removed, or went into the archive, since they were looked at.
                Some(Err(Error::Compacted { .. }))
                    if self.log.is_none() && self.looked_at != Some(self.next) =>
                {
                    self.looked_at = Some(self.next);
                    let again = Changes::without_log(&self.store, self.next);
                    self.before = again.map_err(|error| self.failed.insert(error).clone())?;
                }
                Some(Err(error)) => return Err(self.failed.insert(error).clone()),
                Some(Ok(record)) => return Ok(Some(record)),
                None if self.log.is_none() => return Ok(None),
                None => return Err(Error::Compacted { oldest: begin }),
            }
        }
        self.before = None;
        // They end by themselves where the log is not durable.
        self.log.as_mut().and_then(|(_, records)| records.next()).transpose()
    }

    fn stop_at(&mut self, record: &Record) -> Error {
        let file: PathBuf = self.store.dir.path().join(&*record.file);
        let error =
            Error::corruption(&file, record.offset, Some(record.lsn), CorruptionKind::BatchBody, None);
        self.failed.insert(error).clone()
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        self.read().transpose()
    }
}
