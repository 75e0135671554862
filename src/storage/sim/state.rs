//! The inside of the simulated disk, under its one lock: two images, what lies between them, and who uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::content::checked_end;
use super::super::locks::Locks;
use super::super::tree::{Node, parent};
use super::crash::CrashPoint;
use super::fault::{Faults, enospc};
use super::image::{Bytes, Change, Edit, FileId, Image, Place};
use super::operation::{Detail, Operation};
use super::random;

/// What goes on as before when the power comes back.
#[derive(Clone, Copy)]
pub(super) struct Ambient {
    pub(super) clock_us: u64,
    pub(super) random: u64,
    pub(super) quota: u64,
    pub(super) note: u64,
    next_file: FileId,
}

pub(super) struct State {
    /// What reads see.
    pub(super) cached: Image,
    /// What a power cut leaves for certain.
    pub(super) durable: Image,
    /// INVARIANT: `durable` plus these is `cached`, except for what a failed sync has lost.
    pub(super) pending: Vec<Change>,
    pub(super) ambient: Ambient,
    pub(super) operations: u64,
    pub(super) faults: Faults,
    pub(super) recorded: Option<Vec<CrashPoint>>,
    /// Which process owns the disk; handles of earlier ones are dead.
    pub(super) process: u64,
    pub(super) locks: Locks,
    /// Files that somebody has changed past their user, who can vouch for nothing in them.
    pub(super) placed: BTreeSet<FileId>,
    /// How many handles each file has: without a name it lives as long as one of them.
    open: BTreeMap<FileId, usize>,
}

impl Ambient {
    pub(super) fn new(seed: u64) -> Self {
        // 2024-01-01, so that times printed in tests look like times; 4 GiB, so that no mistake eats the machine.
        Self { clock_us: 1_704_067_200_000_000, random: seed, quota: 4 << 30, note: 0, next_file: 1 }
    }

    pub(super) fn now_us(&mut self) -> u64 {
        let now = self.clock_us;
        self.clock_us = now.saturating_add(1);
        now
    }

    pub(super) fn random_u64(&mut self) -> u64 {
        random::next(&mut self.random)
    }
}

impl State {
    /// A disk of which everything is durable, and which nobody uses.
    pub(super) fn new(image: Image, ambient: Ambient) -> Self {
        Self {
            cached: image.clone(),
            durable: image,
            pending: Vec::new(),
            ambient,
            operations: 0,
            faults: Faults::default(),
            recorded: None,
            process: 0,
            locks: Locks::default(),
            placed: BTreeSet::new(),
            open: BTreeMap::new(),
        }
    }

    /// The same disk, used by nobody, without its faults.
    pub(super) fn fork(&self) -> Self {
        let (cached, pending) = (self.cached.clone(), self.pending.clone());
        Self { cached, pending, ..Self::new(self.durable.clone(), self.ambient) }
    }

    pub(super) fn create(&mut self, operation: &Operation<'_>) -> io::Result<FileId> {
        self.cached.names.vacant(operation.path)?;
        let file = self.ambient.next_file;
        self.ambient.next_file += 1;
        let edit = (operation.path.to_owned(), Some(Node::File(file)));
        self.make(operation, vec![Change::names([edit])]);
        Ok(file)
    }

    pub(super) fn create_dir(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        self.cached.names.vacant(operation.path)?;
        self.make(operation, vec![Change::names([(operation.path.to_owned(), Some(Node::Dir))])]);
        Ok(())
    }

    pub(super) fn remove(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        self.cached.names.file(operation.path)?;
        self.make(operation, vec![Change::names([(operation.path.to_owned(), None)])]);
        Ok(())
    }

    pub(super) fn rename(&mut self, operation: &Operation<'_>, to: &Path) -> io::Result<()> {
        let from = operation.path;
        let file = *self.cached.names.file(from)?;
        self.cached.names.replaceable(to)?;
        let gone: Edit = (from.to_owned(), None);
        let here: Edit = (to.to_owned(), Some(Node::File(file)));
        // Within a directory a rename is atomic. Across two of them nothing ties the halves together until both
        // directories are synced: a power cut may leave both names, or neither.
        let changes = if parent(from) == parent(to) {
            vec![Change::names([gone, here])]
        } else {
            vec![Change::names([here]), Change::names([gone])]
        };
        self.make(operation, changes);
        Ok(())
    }

    /// Writes as much as there is room for, and says how much that was.
    pub(super) fn write(
        &mut self,
        operation: &Operation<'_>,
        file: FileId,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let Detail::Range { offset, .. } = operation.detail else { return Ok(0) };
        let end = checked_end(offset, bytes.len())?;
        let beyond = end.saturating_sub(self.limit_of(file, end));
        let fits = bytes.len().saturating_sub(usize::try_from(beyond).unwrap_or(usize::MAX));
        if fits == 0 && !bytes.is_empty() {
            return Err(enospc());
        }
        let changes = self.cached.changes_of_write(file, &bytes[..fits], offset);
        self.make(operation, changes);
        Ok(fits)
    }

    pub(super) fn set_len(&mut self, operation: &Operation<'_>, file: FileId) -> io::Result<()> {
        let Detail::Length(bytes) = operation.detail else { return Ok(()) };
        checked_end(bytes, 0)?;
        if self.limit_of(file, bytes) < bytes {
            return Err(enospc());
        }
        self.make(operation, vec![Change::Length { file, bytes }]);
        Ok(())
    }

    /// Makes durable what belongs to a place.
    pub(super) fn sync(&mut self, operation: &Operation<'_>, place: &Place) {
        self.record(operation, &[]);
        self.save(place);
        self.sweep();
    }

    /// A sync that loses what it should save: it is in the cache alone, and no longer known to be unsaved.
    pub(super) fn lose(&mut self, operation: &Operation<'_>, place: &Place) {
        self.record(operation, &[]);
        self.pending.retain(|change| !change.is_of(place));
    }

    /// A sync that loses what it should save, and the cache with it.
    pub(super) fn revert(&mut self, operation: &Operation<'_>, place: &Place) {
        self.lose(operation, place);
        match place {
            Place::File(file) => _ = self.cached.files.insert(*file, self.durable.content(*file)),
            Place::Dir(dir) => {
                let names = Arc::make_mut(&mut self.cached.names);
                names.replace_dir(dir, &self.durable.names);
                names.prune();
            }
        }
    }

    pub(super) fn hold(&mut self, file: FileId) {
        *self.open.entry(file).or_default() += 1;
    }

    pub(super) fn release(&mut self, file: FileId) {
        match self.open.get_mut(&file) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.open.remove(&file),
        }
    }

    /// The process dies: its handles and locks go, the cache stays.
    pub(super) fn next_process(&mut self) -> u64 {
        self.process += 1;
        self.open.clear();
        self.locks = Locks::default();
        self.process
    }

    /// Puts a file on the disk, or takes it off, past the cache.
    pub(super) fn place(&mut self, path: &Path, content: Option<Bytes>) {
        let file = self.cached.names.file(path).copied().unwrap_or(self.ambient.next_file);
        self.ambient.next_file = self.ambient.next_file.max(file + 1);
        self.placed.insert(file);
        // No pending change may undo this: other names of the directory are saved with it, old bytes are overtaken.
        self.save(&Place::Dir(parent(path).to_owned()));
        self.pending.retain(|change| !change.is_of(&Place::File(file)));
        for image in [&mut self.durable, &mut self.cached] {
            let names = Arc::make_mut(&mut image.names);
            for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
                names.set(dir.to_owned(), Some(Node::Dir));
            }
            names.set(path.to_owned(), content.is_some().then_some(Node::File(file)));
            image.files.insert(file, content.clone().unwrap_or_default());
        }
        self.sweep();
    }

    /// Makes the changes of an operation, in the cache.
    fn make(&mut self, operation: &Operation<'_>, changes: Vec<Change>) {
        self.record(operation, &changes);
        changes.iter().for_each(|change| self.cached.apply(change));
        self.pending.extend(changes);
    }

    /// Moves a place's pending changes into the durable image.
    fn save(&mut self, place: &Place) {
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let saved = change.is_of(place);
            if saved {
                durable.apply(change);
            }
            !saved
        });
    }

    fn record(&mut self, operation: &Operation<'_>, under_way: &[Change]) {
        if self.recorded.is_none() {
            return;
        }
        let mut point = self.crash_point();
        point.description = operation.to_string();
        point.changes.extend_from_slice(under_way);
        if let Detail::Range { offset, bytes } = operation.detail {
            point.write = Some((offset, bytes));
        }
        self.recorded.get_or_insert_default().push(point);
    }

    /// The power cut that would happen now, between two operations.
    pub(super) fn crash_point(&self) -> CrashPoint {
        CrashPoint {
            operation: self.operations,
            note: self.ambient.note,
            description: "between operations".to_owned(),
            durable: self.durable.clone(),
            changes: self.pending.clone(),
            under_way: self.pending.len(),
            write: None,
            ambient: self.ambient,
        }
    }

    /// How long a file may be at most, up to the length asked for.
    fn limit_of(&self, file: FileId, asked: u64) -> u64 {
        let len = self.cached.len(file);
        if asked <= len {
            return asked;
        }
        let named = self.cached.names.file_ids();
        let taken = |id: &FileId| named.contains(id) || self.open.contains_key(id);
        let used: u64 =
            self.cached.files.iter().filter(|(id, _)| taken(id)).map(|(_, file)| file.len()).sum();
        asked.min(len.saturating_add(self.ambient.quota.saturating_sub(used)))
    }

    /// Forgets the files that nothing can bring back: no name, durable, cached or pending, and no handle.
    fn sweep(&mut self) {
        let mut alive = self.cached.names.file_ids();
        alive.extend(self.durable.names.file_ids());
        alive.extend(self.pending.iter().flat_map(Change::named_files));
        alive.extend(self.open.keys());
        for image in [&mut self.durable, &mut self.cached] {
            image.files.retain(|file, _| alive.contains(file));
        }
        self.pending.retain(|change| change.file().is_none_or(|file| alive.contains(&file)));
    }

    /// The names of all files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let names = self.cached.names.iter();
        names.filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path.clone()).collect()
    }
}
