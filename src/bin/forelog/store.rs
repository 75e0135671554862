//! Opening a store as a command needs it, finding a keyspace in it, and closing it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use forelog::event::{Event, Listener};
use forelog::storage::{Access, RealDisk, Storage, read_full_at};
use forelog::wal::TornTail;
use forelog::{CreateMode, DEFAULT_KEYSPACE, Db, Error, Keyspace, Options, RecoveryReport};

use crate::args::Globals;
use crate::failure::Failure;
use crate::progress::Progress;

/// Where a store is: a disk, which in the lab is a simulated one, and a directory on it.
#[derive(Clone, Debug)]
pub struct Site {
    pub disk: Arc<dyn Storage>,
    pub dir: PathBuf,
}

impl Site {
    /// A directory of the real disk.
    pub fn real(dir: impl Into<PathBuf>) -> Site {
        Site { disk: Arc::new(RealDisk), dir: dir.into() }
    }

    /// All bytes of a file of this disk.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        self.read_at(path, 0, u64::MAX)
    }

    /// Some bytes of a file of this disk; fewer where it ends.
    pub fn read_at(&self, path: &Path, offset: u64, bytes: u64) -> Result<Vec<u8>, Failure> {
        let read = || -> io::Result<Vec<u8>> {
            let file = self.disk.open(path, Access::Read)?;
            let len = file.len()?.saturating_sub(offset).min(bytes);
            let mut buffer = zeros(len)?;
            let filled = read_full_at(&*file, &mut buffer, offset)?;
            buffer.truncate(filled);
            Ok(buffer)
        };
        read().map_err(|source| Failure::file("read", path, source))
    }
}

/// Room for what a file says that it holds, if there is so much.
pub fn zeros(bytes: u64) -> io::Result<Vec<u8>> {
    let mut room = Vec::new();
    let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
    room.try_reserve_exact(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
    room.resize(bytes, 0);
    Ok(room)
}

/// The options of a command that writes.
pub fn options(globals: &Globals) -> Options {
    with_threads(Options::new().durability(globals.durability), globals)
}

fn with_threads(options: Options, globals: &Globals) -> Options {
    match globals.recovery_threads {
        Some(threads) => options.recovery_threads(usize::from(threads)),
        None => options,
    }
}

/// Opens for reading: changes nothing, needs a store, and fails beside a live writer.
pub fn open_to_read(dir: &Path, globals: &Globals) -> Result<Db, Failure> {
    let options = with_threads(Options::new().create(CreateMode::Never).read_only(true), globals);
    let db = Replaying::watch(globals, |watch| options.listener(watch).open(dir))?;
    let report = db.recovery_report();
    if let Some(torn) = &report.log.torn {
        globals.say(format_args!(
            "the log ends in an unfinished write, which is left out: {}; opening for writing cuts it off",
            place_of(torn)
        ));
    }
    say_passed_over(report, globals);
    say_report(report, globals);
    Ok(db)
}

fn place_of(torn: &TornTail) -> String {
    format!("{} at byte {}, LSN {}", torn.file, torn.offset, torn.lsn)
}

/// Opens for writing, and creates a store where the directory is missing or empty.
pub fn open_to_write(dir: &Path, globals: &Globals) -> Result<Db, Failure> {
    let db = Replaying::watch(globals, |watch| options(globals).listener(watch).open(dir))?;
    Ok(opened(dir, db, globals))
}

/// Opens for writing a store that must be there.
pub fn open_existing(dir: &Path, disk: Arc<dyn Storage>, globals: &Globals) -> Result<Db, Failure> {
    open_with(dir, options(globals).storage(disk).create(CreateMode::Never), globals)
}

/// Opens for writing with more options, and says what that has changed.
pub fn open_with(dir: &Path, options: Options, globals: &Globals) -> Result<Db, Failure> {
    Ok(opened(dir, options.open(dir)?, globals))
}

fn opened(dir: &Path, db: Db, globals: &Globals) -> Db {
    if db.created() {
        globals.say(format_args!("created a store in {}", dir.display()));
    }
    let report = db.recovery_report();
    if let Some(torn) = &report.log.torn {
        let kept = match &torn.kept_in {
            Some(file) => format!("its bytes are kept in {file}"),
            None => "its bytes stay in that file as long as it is kept".to_owned(),
        };
        globals.say(format_args!(
            "the log ended in an unfinished write, which was cut off: {}; {kept}",
            place_of(torn)
        ));
    }
    say_passed_over(report, globals);
    say_report(report, globals);
    db
}

fn say_passed_over(report: &RecoveryReport, globals: &Globals) {
    for damaged in &report.damaged_checkpoints {
        globals.say(format_args!("a damaged checkpoint was passed over: {}", damaged.error));
    }
}

/// Shows how far the log is replayed, segment by segment, if that takes long.
#[derive(Debug)]
struct Replaying(Mutex<Option<Progress>>);

impl Replaying {
    fn watch<T>(globals: &Globals, open: impl FnOnce(Arc<Replaying>) -> T) -> T {
        let progress = Progress::new("loaded and replayed", None, globals.quiet);
        let watch = Arc::new(Replaying(Mutex::new(Some(progress))));
        let opened = open(watch.clone());
        // It goes on listening, but the bar goes.
        watch.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        opened
    }
}

impl Listener for Replaying {
    fn event(&self, event: &Event<'_>) {
        if let Event::Replayed { records: done, .. } | Event::Loaded { entries: done, .. } = event
            && let Some(progress) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)
        {
            progress.add(*done);
        }
    }
}

/// Syncs and marks the log as closed. Says what went wrong beside what was asked for.
pub fn close(db: Db, globals: &Globals) -> Result<(), Failure> {
    let closed = db.close();
    say_failures(&db, globals);
    leave(db);
    Ok(closed?)
}

/// Says why files stay that should have gone: nothing is lost by that, but the directory grows.
pub fn say_failures(db: &Db, globals: &Globals) {
    let stats = db.stats();
    if let Some(failure) = stats.checkpoint_failure {
        globals.say(format_args!("no checkpoint could be taken, or nothing removed: {failure}"));
    }
    if let Some(failure) = stats.archive_failure {
        globals.say(format_args!("nothing goes while it cannot be archived: {failure}"));
    }
}

/// Leaves the memory to the end of the process: giving back a large map, one allocation after the other, takes seconds.
pub fn leave(db: Db) {
    std::mem::forget(db);
}

/// The keyspace to read from, which must exist.
pub fn keyspace_to_read(db: &Db, name: Option<&str>) -> Result<Keyspace, Failure> {
    let name = name.unwrap_or(DEFAULT_KEYSPACE);
    db.find_keyspace(name).ok_or_else(|| Error::UnknownKeyspace { name: name.to_owned() }.into())
}

/// The keyspace to write to. One that is missing is created.
pub fn keyspace_to_write(db: &Db, name: Option<&str>) -> Result<Keyspace, Failure> {
    Ok(db.keyspace(name.unwrap_or(DEFAULT_KEYSPACE))?)
}

/// The name of a keyspace, if it is not the default one, which is never named in an answer.
pub fn name_of(keyspace: &Keyspace) -> Option<&str> {
    Some(keyspace.name()).filter(|name| *name != DEFAULT_KEYSPACE)
}

fn say_report(report: &RecoveryReport, globals: &Globals) {
    if !globals.verbose {
        return;
    }
    globals.say(format_args!(
        "opened at LSN {}: checkpoint {}, segments {}, records {}, operations {}, written again {}, threads {}, {:.3} ms",
        report.log.last_lsn,
        report.checkpoint.map_or("none".to_owned(), |lsn| format!("at LSN {lsn}")),
        report.log.segments.len(),
        report.records,
        report.operations,
        report.log.rewritten,
        report.threads,
        report.took.as_secs_f64() * 1e3,
    ));
}
