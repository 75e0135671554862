//! The lab: a store on a simulated disk that can lose its power, and what became of each record when it did.
//!
//! ```text
//!  put …   ─▶ answered: up to which LSN, and what was promised
//!  crash   ─▶ the log as it is now, record by record ─▶ the engine thrown away ─▶ what the disk has kept of each
//!  recover ─▶ another engine opens the disk ─▶ which of them it has, and why
//! ```
//!
//! Nothing is staged. What was written is read from the files, and so is what is left of it; what is synced, the engine
//! said before it was thrown away, and what survives, the one that comes after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forelog::format::record::RecordKind;
use forelog::format::{KeyspaceId, Op, batch_body};
use forelog::storage::{Outcome, Rest, SimDisk};
use forelog::wal::Record;
use forelog::{Db, Durability, Lsn, Options, care};

use crate::failure::Failure;
use crate::output::{self, Cell, Output};
use crate::store::Site;

/// The name of the lab's store, and of its archive.
pub const DIR: &str = "lab";
const ARCHIVE: &str = "archive";

/// As small as they can be: a few puts fill one, and there is something to see.
const SEGMENT_BYTES: u64 = 8192;

/// How a crash goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed. What it has written is with the operating system.
    Process,
    /// The power goes. What was not synced is lost.
    Cut,
    /// The power goes. Of what was not synced now this sector is on the disk, now that, as the seed decides; a torn one goes
    /// on with these bytes.
    Torn { rest: Rest, seed: u64 },
}

/// A simulated disk, and what its user was promised.
#[derive(Debug)]
pub struct Lab {
    disk: SimDisk,
    dir: PathBuf,
    /// Up to here everything was told about by the last recovery.
    told: Lsn,
    /// Up to which LSN commands have answered, and what that promised. In order.
    promised: Vec<(Lsn, Durability)>,
    crashed: Option<(Crash, Vec<Written>)>,
    /// True once a bit was flipped: then something durable may be lost, and that is nobody's fault but the user's.
    is_damaged: bool,
}

/// A record that was written before a crash.
#[derive(Debug)]
struct Written {
    lsn: Lsn,
    what: What,
    promised: Option<Durability>,
    synced: bool,
    left: Left,
}

/// What a crash has left of a record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    All,
    Some,
    Nothing,
    /// It could not be read any more before the crash.
    Unreadable,
}

impl Lab {
    /// A disk with nothing on it.
    pub fn new() -> Lab {
        Lab {
            disk: SimDisk::new(1),
            dir: DIR.into(),
            told: Lsn::ZERO,
            promised: Vec::new(),
            crashed: None,
            is_damaged: false,
        }
    }

    /// Where its store is.
    pub fn site(&self) -> Site {
        Site { disk: Arc::new(self.disk.clone()), dir: self.dir.clone() }
    }

    /// The options of its store.
    pub fn options(&self, options: Options) -> Options {
        self.options_of(&self.dir, options)
    }

    /// The options of a store of its disk. Nothing happens in the background: what is seen is what the user did.
    pub fn options_of(&self, dir: &Path, options: Options) -> Options {
        let options = options.storage(Arc::new(self.disk.clone())).segment_bytes(SEGMENT_BYTES);
        let options = options.checkpoint_after_bytes(None).idle_mark(None).spare_ahead(false);
        // An archive is one store's.
        if dir == Path::new(DIR) { options.archive(Some(Path::new(ARCHIVE))) } else { options }
    }

    /// From now on another store of the disk is worked on.
    pub fn turn_to(&mut self, dir: &Path) {
        self.dir = dir.to_path_buf();
        self.crashed = None;
    }

    /// True if a bit was flipped.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// What there is when a store is opened is nothing that a crash will be told about.
    pub fn begins_at(&mut self, visible: Lsn) {
        self.told = visible;
        self.promised = vec![(visible, Durability::Sync)];
    }

    /// A command has answered: everything up to this LSN is acknowledged.
    pub fn answered(&mut self, visible: Lsn, durability: Durability) {
        if self.promised.last().is_none_or(|(last, _)| *last < visible) {
            self.promised.push((visible, durability));
        }
    }

    /// The names by which its files and directories can be told.
    pub fn files(&self) -> Vec<String> {
        let own = |path: PathBuf| match path.strip_prefix(&self.dir) {
            Ok(name) => name.display().to_string(),
            Err(_) => path.display().to_string(),
        };
        let files = self.disk.files();
        let dirs = files.iter().filter_map(|path| path.parent()).map(|dir| dir.display().to_string());
        let mut names: Vec<String> = dirs.chain(files.iter().cloned().map(own)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// True from a crash until the recovery.
    pub fn has_crashed(&self) -> bool {
        self.crashed.is_some()
    }

    /// Flips a bit of a file, as a disk does that rots: what was there, and what is. The file is durable then, and its name.
    pub fn damage(&mut self, path: &Path, offset: u64) -> Result<(u8, u8), Failure> {
        let mut bytes = self.site().read(path)?;
        let Some(byte) = usize::try_from(offset).ok().and_then(|offset| bytes.get_mut(offset)) else {
            return Err(Failure::Usage(format!("{} has no byte at {offset}", path.display())));
        };
        let before = *byte;
        *byte ^= 1;
        // Past the engine, which may be about to write there.
        self.disk.write_file(path, &bytes);
        self.is_damaged = true;
        Ok((before, before ^ 1))
    }

    /// Throws the engine away without a goodbye, and with it what the disk had not made durable. Returns how many records
    /// were not synced.
    pub fn crash(&mut self, db: Db, crash: Crash) -> u64 {
        let (synced, last) = (db.durable_lsn(), db.visible_lsn());
        let before = self.disk.fork();
        // As another process would read it: all that was written, synced or not.
        let log = care::read_log_on(Arc::new(self.disk.fork().kill()), &self.dir);
        // What is damaged ends it. The crash comes all the same, and the recovery says what is wrong.
        let records: Vec<Record> = log.map_or(Vec::new(), |log| log.map_while(Result::ok).collect());
        self.disk = match crash {
            Crash::Process => self.disk.kill(),
            Crash::Cut => self.disk.power_cut(&Outcome::None),
            Crash::Torn { rest, seed } => self.disk.power_cut(&Outcome::Random { seed, rest: Some(rest) }),
        };
        drop(db);
        let names = names_in(&records);
        let new = records.iter().filter(|record| record.lsn > self.told);
        let mut written: Vec<Written> =
            new.map(|record| self.written(&before, record, What::of(record, &names), synced)).collect();
        let read = records.last().map_or(self.told, |last| last.lsn.max(self.told));
        written.extend((read.get() + 1..=last.get()).map(|lsn| self.unreadable(Lsn::new(lsn), synced)));
        self.crashed = Some((crash, written));
        last.distance_from(synced)
    }

    fn written(&self, before: &SimDisk, record: &Record, what: What, synced: Lsn) -> Written {
        let bytes = |disk: &SimDisk| {
            let file = disk.read_file(self.dir.join(&*record.file)).unwrap_or_default();
            let begin = usize::try_from(record.offset).unwrap_or(usize::MAX).min(file.len());
            let len = usize::try_from(record.bytes).unwrap_or(usize::MAX).min(file.len() - begin);
            file[begin..begin + len].to_vec()
        };
        let found = bytes(&self.disk);
        let left = match &found {
            found if *found == bytes(before) => Left::All,
            found if found.iter().all(|byte| *byte == 0) => Left::Nothing,
            _ => Left::Some,
        };
        let promised = self.promised_for(record.lsn).filter(|_| record.kind == RecordKind::Data);
        // Whatever is asked of writes, keyspaces are made and dropped durably.
        let promised = promised.map(|asked| if what.is_of_keyspace() { Durability::Sync } else { asked });
        let lsn = record.lsn;
        Written { lsn, what, promised, synced: lsn <= synced, left }
    }

    /// What is known of a record that a command has answered for, and that cannot be read.
    fn unreadable(&self, lsn: Lsn, synced: Lsn) -> Written {
        let what = What { op: "unreadable", key: Vec::new(), more: 0 };
        Written { lsn, what, promised: self.promised_for(lsn), synced: lsn <= synced, left: Left::Unreadable }
    }

    fn promised_for(&self, lsn: Lsn) -> Option<Durability> {
        self.promised.iter().find(|(last, _)| *last >= lsn).map(|(_, promised)| *promised)
    }

    /// Opens what a crash has left with `open`, and answers with what became of each record.
    pub fn recover(
        &mut self,
        open: impl FnOnce(&Lab) -> Result<Db, Failure>,
        out: &mut Output,
    ) -> Result<Db, Failure> {
        if self.crashed.is_none() {
            return Err(Failure::Usage("nothing has crashed; crash does that".to_owned()));
        }
        let db = open(self).inspect_err(|_| {
            if self.is_damaged {
                output::say("forelog: damage FILE@OFFSET with the same offset takes the damage back; or leave the lab, and begin another");
            }
        })?;
        let last = db.recovery_report().log.last_lsn;
        let Some((crash, written)) = self.crashed.take() else { return Ok(db) };
        self.begins_at(db.visible_lsn());
        let fate = |written| Fate::of(written, crash, last, self.is_damaged);
        let fates: Vec<Fate<'_>> = written.iter().map(fate).collect();
        answer(&fates, out)?;
        Ok(db)
    }
}

/// What a record holds: its first operation, and how many there are.
#[derive(Debug, PartialEq, Eq)]
struct What {
    op: &'static str,
    key: Vec<u8>,
    more: usize,
}

/// The keyspaces that these records create.
fn names_in(records: &[Record]) -> BTreeMap<KeyspaceId, String> {
    let data = records.iter().filter(|record| record.kind == RecordKind::Data);
    let ops = data.flat_map(|record| batch_body::ops(&record.payload).flatten());
    ops.filter_map(
        |op| if let Op::CreateKeyspace { id, name } = op { Some((id, name.to_owned())) } else { None },
    )
    .collect()
}

impl What {
    fn is_of_keyspace(&self) -> bool {
        ["keyspace", "drop"].contains(&self.op)
    }

    fn of(record: &Record, names: &BTreeMap<KeyspaceId, String>) -> What {
        let mut ops = batch_body::ops(&record.payload).flatten();
        let (op, key) = match ops.next() {
            _ if record.kind != RecordKind::Data => (record.kind.name(), Vec::new()),
            Some(Op::Put { key, .. }) => ("put", key.to_vec()),
            Some(Op::Delete { key, .. }) => ("del", key.to_vec()),
            Some(Op::CreateKeyspace { name, .. }) => ("keyspace", name.as_bytes().to_vec()),
            Some(Op::DropKeyspace { id }) => {
                ("drop", names.get(&id).cloned().unwrap_or_else(|| format!("#{id}")).into_bytes())
            }
            None => ("nothing", Vec::new()),
        };
        What { op, key, more: ops.count() }
    }

    fn cell(&self) -> Cell<'_> {
        let mut words = vec![Cell::text(self.op)];
        words.extend((!self.key.is_empty()).then_some(Cell::Bytes(&self.key)));
        words.extend((self.more > 0).then(|| Cell::text(format!("(+{})", self.more))));
        Cell::Words(words)
    }
}

/// What became of a record, or of some that follow each other and fared alike.
struct Fate<'a> {
    first: &'a Written,
    last: Lsn,
    survived: bool,
    why: &'static str,
}

impl Fate<'_> {
    fn of(written: &Written, crash: Crash, last: Lsn, is_damaged: bool) -> Fate<'_> {
        let survived = written.lsn <= last;
        let why = match (survived, written.synced, written.left) {
            (true, true, _) => "synced before the crash",
            (true, false, _) if crash == Crash::Process => "the operating system has it",
            (true, false, _) if is_damaged => "damage had saved the whole file",
            (true, false, _) => "luck: it had reached the disk",
            (false, _, Left::Unreadable) => "damaged before the crash",
            (false, true, _) if is_damaged => "damaged, and no proof behind it",
            (false, true, _) => "IT WAS SYNCED: this is a bug of forelog",
            (false, false, Left::Nothing) => "nothing of it had reached the disk",
            (false, false, Left::Some) => "torn: its checksum tells",
            (false, false, Left::All) => "behind a record that is lost",
        };
        Fate { first: written, last: written.lsn, survived, why }
    }

    fn is_like(&self, other: &Fate<'_>) -> bool {
        let known = |fate: &Fate<'_>| (fate.first.promised, fate.first.synced, fate.survived, fate.why);
        known(self) == known(other)
    }
}

/// So many that fared alike are shown one by one.
const FEW: usize = 3;

/// Answers with what became of each record. For people, many that fared alike are one row.
fn answer(fates: &[Fate<'_>], out: &mut Output) -> Result<(), Failure> {
    let is_for_machines = out.format().is_for_machines();
    let mut rows = out.rows(&["lsn", "written", "acknowledged", "synced", "survived", "why"])?;
    for alike in fates.chunk_by(Fate::is_like) {
        let (shown, last) = match alike {
            [first, .., last] if alike.len() > FEW && !is_for_machines => {
                (std::slice::from_ref(first), Some(last))
            }
            alike => (alike, None),
        };
        for fate in shown {
            let written = fate.first;
            let lsn = match last {
                Some(last) => Cell::text(format!("{}{}{}", written.lsn, output::dash(), last.last)),
                None => written.lsn.into(),
            };
            let what = match last {
                Some(_) => Cell::text(format!("{} records", alike.len())),
                None => written.what.cell(),
            };
            let promised =
                written.promised.map_or(Cell::text("-"), |promised| Cell::text(promised.to_string()));
            let yes_or_no = |yes: bool| Cell::text(if yes { "yes" } else { "no" });
            rows.row(&[
                lsn,
                what,
                promised,
                yes_or_no(written.synced),
                yes_or_no(fate.survived),
                Cell::text(fate.why),
            ])?;
        }
    }
    rows.finish()
}
