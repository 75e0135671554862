//! A whole store, put through crashes. What is done to it is in `store_script`, and what is looked at then in `store_look`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::draw::Draw;
use super::report::CrashPath;
use super::script::{Flavor, Step};
use super::store_look::{
    all_of, copies, key, keyspace_key, left_behind, manifest_of, options, trail_is_whole,
};
use super::store_script::{Action, Change, SPACES, script};
use super::subject::{Effect, Subject, Watch};
use super::timeline::{Changes, Seen};
use crate::care;
use crate::format::KeyspaceId;
use crate::storage::SimDisk;
use crate::wal::LogStatus;
use crate::{
    Checksum, DEFAULT_KEYSPACE, Db, Durability, Error, Limit, Lsn, RestoreTarget, Result, Retention,
    WriteBatch, WriteOptions,
};

/// Two levels, so that the directory's own ancestors are at stake too.
pub(super) const DIR: &str = "some/data";

/// Beside it.
const ARCHIVE: &str = "some/archive";

/// Where copies go: with the LSN behind it.
pub(super) const COPY: &str = "some/at-";

/// The smallest segments, so that little is needed to fill one.
pub(super) const SEGMENT_BYTES: u64 = 8192;

/// A store, without checkpoints or with them.
pub(super) struct StoreSubject {
    name: &'static str,
    flavors: &'static [Flavor],
    /// How many checkpoints it keeps, and how many segments that recovery needs no more.
    checkpoints: Option<(u32, u64)>,
    has_archive: bool,
}

impl StoreSubject {
    pub(super) const ALL: [StoreSubject; 4] = [
        StoreSubject {
            name: "store",
            flavors: &[
                Flavor::Kill,
                Flavor::FailedSync,
                Flavor::Append,
                Flavor::Rotation,
                Flavor::Creation,
                Flavor::Close,
            ],
            checkpoints: None,
            has_archive: false,
        },
        StoreSubject::with_checkpoints("store with a checkpoint", (1, 0)),
        StoreSubject::with_checkpoints("store with two checkpoints", (2, 1)),
        StoreSubject {
            name: "store with an archive",
            flavors: &[Flavor::Kill, Flavor::FailedSync, Flavor::Archive, Flavor::Copy],
            checkpoints: Some((1, 0)),
            has_archive: true,
        },
    ];

    const fn with_checkpoints(name: &'static str, checkpoints: (u32, u64)) -> StoreSubject {
        let flavors = &[Flavor::Kill, Flavor::FailedSync, Flavor::Checkpoint, Flavor::Retention];
        StoreSubject { name, flavors, checkpoints: Some(checkpoints), has_archive: false }
    }
}

impl Subject for StoreSubject {
    type Handle = Db;
    type Action = Action;

    fn name(&self) -> &'static str {
        self.name
    }

    fn flavors(&self) -> &'static [Flavor] {
        self.flavors
    }

    fn kill_step(&self) -> u64 {
        // With checkpoints there are many operations, and with an archive many more.
        match (self.checkpoints, self.has_archive) {
            (_, true) => 5,
            (Some(_), false) => 2,
            (None, false) => 1,
        }
    }

    fn script(&self, flavor: Flavor, draw: &mut Draw) -> Vec<Step<Action>> {
        script(flavor, self.checkpoints.is_some(), draw)
    }

    fn follow_up(&self, draw: &mut Draw) -> Vec<Action> {
        let value = Some(draw.payload(8, 60));
        let change = Change { space: SPACES[draw.choice(SPACES.len())], key: "probe".to_owned(), value };
        let mut actions = vec![Action::Write { changes: vec![change], durability: Durability::Sync }];
        if self.checkpoints.is_some() && draw.one_in(4) {
            actions.push(Action::Checkpoint);
        }
        actions
    }

    fn open(&self, disk: &SimDisk, watch: &Arc<Watch>) -> Result<Db> {
        let files = disk.files().len();
        // Now and then another checksum than before, so that opening replaces the manifest.
        let checksum = Checksum::ALL[files % Checksum::ALL.len()];
        // And with another number of threads. (Not what the machine has: a seed gives the same run everywhere.)
        let mut options = options(disk).checksum(checksum).recovery_threads(1 + files % 3);
        if let Some((keep, past)) = self.checkpoints {
            // Now and then less is kept than before, so that there is something to prune.
            let (keep, past) = if files % 4 == 3 { (1, 0) } else { (keep, past) };
            options = options.keep_checkpoints(keep).retention(Retention::Any(vec![Limit::Count(past)]));
        }
        if self.has_archive {
            options = options.archive(Some(Path::new(ARCHIVE)));
        }
        options.listener(watch.clone()).open(DIR)
    }

    fn look(&self, disk: &SimDisk, db: &Db) -> Result<Seen, String> {
        left_behind(disk)?;
        let mut seen = all_of(db)?;
        seen.copies = copies(disk)?;
        if self.has_archive {
            trail_is_whole(disk)?;
        }
        let durable = db.durable_lsn().get();
        if durable != seen.lsn {
            return Err(format!("opened at LSN {}, of which only {durable} are durable", seen.lsn));
        }
        let report = db.recovery_report();
        if let Some(damaged) = report.damaged_checkpoints.first() {
            return Err(format!("opening passed over a checkpoint: {}", damaged.error));
        }
        seen.checkpoint = report.checkpoint.map_or(0, Lsn::get);
        let log = &report.log;
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

    fn rot(&self, disk: &SimDisk, seen: &Seen, draw: &mut Draw) -> Result<bool, String> {
        let manifest = manifest_of(disk)?;
        let Some(file) = manifest.checkpoints.last().and_then(|newest| newest.files().next()) else {
            return Ok(false);
        };
        let path = format!("{DIR}/{file}");
        let mut bytes = disk.read_file(&path).unwrap_or_default();
        let at = draw.choice(bytes.len());
        bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << draw.choice(8));
        disk.write_file(&path, &bytes);
        let whole = manifest.checkpoints.len() > 1 || manifest.first_segment == Lsn::new(1);
        match options(disk).open(DIR) {
            Ok(db) => {
                let found = all_of(&db)?;
                let passed_over = db.recovery_report().damaged_checkpoints.len();
                if (found.lsn, &found.state, passed_over) == (seen.lsn, &seen.state, 1) {
                    return Ok(true);
                }
                Err(format!("with {file} damaged at byte {at}, the state at LSN {} is another", found.lsn))
            }
            Err(Error::Corruption(found)) if !whole && found.file.ends_with(&file) => Ok(true),
            Err(error) => Err(format!("with {file} damaged at byte {at}: {error}")),
        }
    }

    fn effect(&self, db: &Db, action: &Action) -> Effect {
        match action {
            Action::Write { changes, .. } => {
                let changes = changes.iter().map(|change| {
                    let space = db.find_keyspace(change.space).map_or(DEFAULT_KEYSPACE, |_| change.space);
                    (key(space, change.key.as_bytes()), change.value.as_deref().map(Arc::from))
                });
                Effect::Grow(vec![changes.collect()])
            }
            Action::CreateKeyspace(name) => match db.find_keyspace(name) {
                Some(_) => Effect::Nothing,
                None => Effect::Grow(vec![vec![(keyspace_key(name), Some([][..].into()))]]),
            },
            Action::DropKeyspace(name) => match db.find_keyspace(name) {
                None => Effect::Nothing,
                Some(space) => {
                    let keys = space.iter().map(|entry| (key(name, entry.key()), None));
                    Effect::Grow(vec![keys.chain([(keyspace_key(name), None)]).collect()])
                }
            },
            Action::Mark => Effect::MayGrow(Changes::new()),
            Action::Checkpoint => Effect::Checkpoint(db.visible_lsn().get()),
            Action::Copy { back } => Effect::Copy(db.visible_lsn().get().saturating_sub(*back)),
            Action::Sync | Action::PrepareSpare | Action::Prune => Effect::Nothing,
        }
    }

    fn act(&self, disk: &SimDisk, db: &Db, action: &Action) -> Result<()> {
        match action {
            Action::Write { changes, durability } => {
                let mut batch = WriteBatch::new();
                for Change { space, key, value } in changes {
                    let space = db.find_keyspace(space).map_or(KeyspaceId::DEFAULT, |space| space.id());
                    match value {
                        Some(value) => batch.put_in(space, key, value),
                        None => batch.delete_in(space, key),
                    }
                }
                db.write_with(batch, &WriteOptions::new().durability(*durability)).map(|_| ())
            }
            Action::CreateKeyspace(name) => db.keyspace(name).map(|_| ()),
            Action::DropKeyspace(name) => match db.find_keyspace(name) {
                None => Ok(()),
                Some(_) => db.drop_keyspace(name).map(|_| ()),
            },
            Action::Sync => db.sync().map(|_| ()),
            Action::Mark => db.mark(),
            // As the background thread does it: a failure is not the store's.
            Action::PrepareSpare => db.prepare_spare().or(Ok(())),
            Action::Checkpoint => {
                db.checkpoint()?;
                // The checkpoint is there. What was to follow it, and failed, is only told by the figures.
                told_by_figures(db)
            }
            Action::Prune => {
                db.prune(false)?;
                told_by_figures(db)
            }
            Action::Copy { back } => {
                let lsn = db.visible_lsn().get().saturating_sub(*back);
                let (storage, into) = (Arc::new(disk.clone()), format!("{COPY}{lsn}"));
                // Nothing was written since the last one.
                if disk.files().iter().any(|path| path.starts_with(&into)) {
                    return Ok(());
                }
                match back {
                    0 => db.backup(into).map(|_| ()),
                    _ => Db::restore_on(storage, DIR, into, RestoreTarget::Lsn(Lsn::new(lsn))).map(|_| ()),
                }
            }
        }
    }

    fn path(&self, action: &Action) -> CrashPath {
        match action {
            Action::PrepareSpare => CrashPath::Rotation,
            Action::Checkpoint => CrashPath::Checkpoint,
            Action::Prune => CrashPath::Retention,
            Action::Copy { .. } => CrashPath::Copy,
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

/// What failed after a checkpoint, or in the archive, is only told by the figures.
fn told_by_figures(db: &Db) -> Result<()> {
    let stats = db.stats();
    stats.checkpoint_failure.or(stats.archive_failure).map_or(Ok(()), |failure| {
        let source = Arc::new(io::Error::other(failure));
        Err(Error::Io { op: "prune or archive", path: DIR.into(), source })
    })
}
