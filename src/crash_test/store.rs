//! A whole store, put through crashes.

use std::sync::Arc;

use super::draw::Draw;
use super::report::CrashPath;
use super::script::{Flavor, Step};
use super::subject::{Effect, Subject, Watch};
use super::timeline::{Changes, Seen, State};
use crate::care;
use crate::format::KeyspaceId;
use crate::memtable::Entry;
use crate::storage::SimDisk;
use crate::wal::LogStatus;
use crate::{Checksum, DEFAULT_KEYSPACE, Db, Durability, Error, Options, Result, WriteBatch, WriteOptions};

/// Two levels, so that the directory's own ancestors are at stake too.
const DIR: &str = "some/data";

/// The smallest segments, so that little is needed to fill one.
const SEGMENT_BYTES: u64 = 8192;

/// The second keyspace. A write to it goes to the default one until it is there.
const USERS: &str = "users";

/// What can be done to a store.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Write {
        changes: Vec<Change>,
        durability: Durability,
    },
    CreateKeyspace,
    Sync,
    Mark,
    /// Makes the log's next segment's file ahead.
    PrepareSpare,
}

/// A put, or a delete where there is no value.
#[derive(Clone, Debug)]
pub(super) struct Change {
    in_users: bool,
    key: String,
    value: Option<Vec<u8>>,
}

/// The store.
pub(super) struct StoreSubject;

impl Subject for StoreSubject {
    type Handle = Db;
    type Action = Action;

    fn name(&self) -> &'static str {
        "store"
    }

    fn flavors(&self) -> &'static [Flavor] {
        &[Flavor::Kill, Flavor::FailedSync, Flavor::Append, Flavor::Rotation, Flavor::Creation, Flavor::Close]
    }

    fn script(&self, flavor: Flavor, draw: &mut Draw) -> Vec<Step<Action>> {
        let mut steps = vec![Step::Open];
        let reopen = [Step::Close, Step::Open];
        match flavor {
            Flavor::Creation => writes(&mut steps, draw, 1, 20),
            Flavor::Append => {
                writes(&mut steps, draw, 4, 60);
                steps.push(Step::Act(Action::CreateKeyspace));
                writes(&mut steps, draw, 8, 60);
                steps.extend(reopen);
                writes(&mut steps, draw, 4, 300);
            }
            Flavor::Close => {
                for _ in 0..4 {
                    writes(&mut steps, draw, 2, 60);
                    steps.extend(reopen.clone());
                }
            }
            Flavor::Rotation => {
                steps.push(Step::Act(Action::CreateKeyspace));
                writes(&mut steps, draw, 10, 1200);
            }
            Flavor::Kill | Flavor::FailedSync | Flavor::Cut | Flavor::KillCut => {
                writes(&mut steps, draw, 3, 500);
                steps.push(Step::Act(Action::CreateKeyspace));
                writes(&mut steps, draw, 2, 900);
                steps.extend(reopen);
                writes(&mut steps, draw, 2, 900);
            }
        }
        steps.push(Step::Close);
        if flavor == Flavor::FailedSync {
            // Nobody hears of a sync that fails while a spare is made, and nothing depends on it.
            steps.retain(|step| !matches!(step, Step::Act(Action::PrepareSpare)));
        }
        steps
    }

    fn probe(&self, draw: &mut Draw) -> Action {
        let value = Some(draw.payload(8, 60));
        let change = Change { in_users: draw.one_in(2), key: "probe".to_owned(), value };
        Action::Write { changes: vec![change], durability: Durability::Sync }
    }

    fn open(&self, disk: &SimDisk, watch: &Arc<Watch>) -> Result<Db> {
        // Now and then another checksum than before, so that opening replaces the manifest.
        let checksum = Checksum::ALL[disk.files().len() % Checksum::ALL.len()];
        // And with another number of threads. (Not what the machine has: a seed gives the same run everywhere.)
        let threads = 1 + disk.files().len() % 3;
        let options = options(disk).checksum(checksum).recovery_threads(threads);
        options.listener(watch.clone()).open(DIR)
    }

    fn look(&self, db: &Db) -> Result<Seen, String> {
        let mut seen = all_of(db)?;
        let durable = db.durable_lsn().get();
        if durable != seen.lsn {
            return Err(format!("opened at LSN {}, of which only {durable} are durable", seen.lsn));
        }
        let log = &db.recovery_report().log;
        let torn = log.torn.as_ref();
        seen.torn = torn.is_some();
        seen.rewritten = log.rewritten > 0;
        seen.lost_copy = torn.is_some_and(|torn| torn.kept_in.is_some());
        Ok(seen)
    }

    fn peek(&self, disk: &SimDisk) -> Result<Option<Seen>, String> {
        match options(disk).read_only(true).open(DIR) {
            Ok(db) => all_of(&db).map(Some),
            Err(Error::NoStore { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn verify(&self, disk: &SimDisk, _: &Db) -> Result<(), String> {
        let found = care::verify_on(Arc::new(disk.clone()), DIR).map_err(|error| error.to_string())?;
        if found.status == LogStatus::Live { Ok(()) } else { Err(format!("verification finds {found:?}")) }
    }

    fn effect(&self, db: &Db, action: &Action) -> Effect {
        match action {
            Action::Write { changes, .. } => {
                let users = db.find_keyspace(USERS).is_some();
                let changes = changes.iter().map(|change| {
                    let space = if users && change.in_users { USERS } else { DEFAULT_KEYSPACE };
                    (key(space, change.key.as_bytes()), change.value.as_deref().map(Arc::from))
                });
                Effect::Grow(vec![changes.collect()])
            }
            Action::CreateKeyspace => match db.find_keyspace(USERS) {
                Some(_) => Effect::Nothing,
                None => Effect::Grow(vec![vec![(keyspace_key(USERS), Some([][..].into()))]]),
            },
            Action::Mark => Effect::MayGrow(Changes::new()),
            Action::Sync | Action::PrepareSpare => Effect::Nothing,
        }
    }

    fn act(&self, db: &Db, action: &Action) -> Result<()> {
        match action {
            Action::Write { changes, durability } => {
                let users = db.find_keyspace(USERS).map_or(KeyspaceId::DEFAULT, |users| users.id());
                let mut batch = WriteBatch::new();
                for Change { in_users, key, value } in changes {
                    let space = if *in_users { users } else { KeyspaceId::DEFAULT };
                    match value {
                        Some(value) => batch.put_in(space, key, value),
                        None => batch.delete_in(space, key),
                    }
                }
                db.write_with(batch, &WriteOptions::new().durability(*durability)).map(|_| ())
            }
            Action::CreateKeyspace => db.keyspace(USERS).map(|_| ()),
            Action::Sync => db.sync().map(|_| ()),
            Action::Mark => db.mark(),
            // As the background thread does it: a failure is not the store's.
            Action::PrepareSpare => db.prepare_spare().or(Ok(())),
        }
    }

    fn path(&self, action: &Action) -> CrashPath {
        match action {
            Action::PrepareSpare => CrashPath::Rotation,
            _ => CrashPath::Append,
        }
    }

    fn close_mark(&self, _: &Db) -> Changes {
        Changes::new()
    }

    fn close(&self, db: &Db) -> Result<()> {
        db.close()
    }

    fn lsns(&self, db: &Db) -> (u64, u64, u64) {
        (db.visible_lsn().get(), db.durable_lsn().get(), 0)
    }
}

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .storage(Arc::new(disk.clone()))
        .segment_bytes(SEGMENT_BYTES)
        .idle_mark(None)
        .spare_ahead(false)
        .recovery_threads(1)
}

/// Some batches: puts, overwrites and deletes over a few keys in two keyspaces, synced or buffered.
fn writes(steps: &mut Vec<Step<Action>>, draw: &mut Draw, count: u64, longest: u64) {
    for _ in 0..count {
        let in_batch = if draw.one_in(2) { 2 + draw.below(4) } else { 1 };
        let changes = (0..in_batch).map(|_| Change {
            in_users: draw.one_in(2),
            key: format!("key {}", draw.below(12)),
            value: (!draw.one_in(4)).then(|| draw.payload(0, longest)),
        });
        let changes = changes.collect();
        let durability = if draw.one_in(2) { Durability::Buffered } else { Durability::Sync };
        steps.push(Step::Act(Action::Write { changes, durability }));
        if draw.one_in(4) {
            steps.push(Step::Act(Action::PrepareSpare));
        }
        match draw.below(10) {
            0 | 1 => steps.push(Step::Act(Action::Mark)),
            2 => steps.push(Step::Act(Action::Sync)),
            _ => {}
        }
    }
}

fn key(space: &str, key: &[u8]) -> Arc<[u8]> {
    [space.as_bytes(), b"/", key].concat().into()
}

/// A keyspace is an entry of the state too: it is there or not.
fn keyspace_key(name: &str) -> Arc<[u8]> {
    key("keyspaces", name.as_bytes())
}

/// Everything in every keyspace, read in both directions.
fn all_of(db: &Db) -> Result<Seen, String> {
    let mut state = State::new();
    let snapshot = db.snapshot();
    for name in db.keyspaces() {
        let Some(keyspace) = db.find_keyspace(&name) else {
            return Err(format!("the keyspace {name} is listed and not found"));
        };
        let there = snapshot.keyspace(&keyspace).map_err(|error| error.to_string())?;
        let entries: Vec<Entry> = there.iter().collect();
        let mut backward: Vec<Entry> = there.iter().rev().collect();
        backward.reverse();
        if entries.iter().map(Entry::key).ne(backward.iter().map(Entry::key)) {
            return Err(format!("the keyspace {name} reads differently backward"));
        }
        if name != DEFAULT_KEYSPACE {
            state.insert(keyspace_key(&name), [][..].into());
        }
        for entry in entries {
            if keyspace.get(entry.key()).map_err(|error| error.to_string())?.as_deref() != Some(entry.value())
            {
                return Err(format!("{} is iterated and not got", entry.key().escape_ascii()));
            }
            state.insert(key(&name, entry.key()), entry.value().into());
        }
    }
    let lsn = db.visible_lsn().get();
    Ok(Seen { lsn, from: Vec::new(), oldest: 0, state, torn: false, rewritten: false, lost_copy: false })
}
