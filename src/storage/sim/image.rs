//! What a disk holds, and the steps by which it changes.
//!
//! ```text
//! durable image  +  pending changes, in the order in which they were made  =  cached image, what everyone sees
//!                   ├ sector 8 of file 3: its 512 bytes after a write
//!                   ├ length of file 3: 4160
//!                   └ names of "data": spare.tmp is gone, 0002.wal is file 3
//! ```
//!
//! A sync moves one place's changes into the durable image; a power cut moves *any subset* of them there. That is the
//! whole model. It covers a cache that writes sectors in any order, because a sector's change holds the sector's
//! whole content after the write, so that whichever survives last is one of the contents it once had; and because
//! lengths and names are changes of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::super::content::{Content, pieces};
use super::super::tree::{Node, Tree, parent};
use super::outcome::Rest;
use super::random::mix;

/// What a disk writes whole: half a write never leaves a sector that mixes more than one tear.
pub(super) const SECTOR: usize = 512;

pub(super) type Bytes = Content<SECTOR>;

/// A file apart from its name, like an inode number. Never used twice on one disk.
pub(super) type FileId = u64;

/// The state of a disk. Cheap to clone: names and bytes are shared until one copy changes.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) names: Arc<Tree<FileId>>,
    /// A file that is not here is empty.
    pub(super) files: BTreeMap<FileId, Bytes>,
}

/// One step, which happens whole or not at all (but see [`Image::apply_torn`]).
#[derive(Clone)]
pub(super) enum Change {
    Sector { file: FileId, index: u64, bytes: Arc<[u8; SECTOR]> },
    Length { file: FileId, bytes: u64 },
    Names { dir: Arc<Path>, edits: Arc<[Edit]> },
}

pub(super) type Edit = (PathBuf, Option<Node<FileId>>);

/// What one sync makes durable: a file's bytes and length, or the names in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(FileId),
    Dir(PathBuf),
}

impl Change {
    pub(super) fn names(edits: impl Into<Arc<[Edit]>>) -> Self {
        let edits = edits.into();
        let dir = edits.first().map_or(Path::new(""), |(path, _)| parent(path)).into();
        Self::Names { dir, edits }
    }

    pub(super) fn is_of(&self, place: &Place) -> bool {
        match (self, place) {
            (Self::Sector { file, .. } | Self::Length { file, .. }, Place::File(place)) => file == place,
            (Self::Names { dir, .. }, Place::Dir(place)) => **dir == **place,
            _ => false,
        }
    }

    /// The file whose bytes or length this changes.
    pub(super) fn file(&self) -> Option<FileId> {
        match self {
            Self::Sector { file, .. } | Self::Length { file, .. } => Some(*file),
            Self::Names { .. } => None,
        }
    }

    /// The files that this gives a name.
    pub(super) fn named_files(&self) -> impl Iterator<Item = FileId> {
        let edits: &[Edit] = match self {
            Self::Names { edits, .. } => edits,
            _ => &[],
        };
        edits.iter().filter_map(|(_, node)| match node {
            Some(Node::File(file)) => Some(*file),
            _ => None,
        })
    }
}

impl Image {
    /// The bytes of a file.
    pub(super) fn content(&self, file: FileId) -> Bytes {
        self.files.get(&file).cloned().unwrap_or_default()
    }

    pub(super) fn len(&self, file: FileId) -> u64 {
        self.files.get(&file).map_or(0, Content::len)
    }

    pub(super) fn sector(&self, file: FileId, index: u64) -> Option<&Arc<[u8; SECTOR]>> {
        self.files.get(&file).and_then(|content| content.chunk(index))
    }

    /// The changes that a write makes to this image: whole sectors, then the length if it grows. The caller has
    /// checked that the end does not overflow.
    pub(super) fn changes_of_write(&self, file: FileId, bytes: &[u8], offset: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut rest = bytes;
        for (index, within, len) in pieces::<SECTOR>(offset, bytes.len()) {
            let (piece, after) = rest.split_at(len);
            let mut sector = self.sector(file, index).map_or([0; SECTOR], |old| **old);
            sector[within..within + len].copy_from_slice(piece);
            changes.push(Change::Sector { file, index, bytes: Arc::new(sector) });
            rest = after;
        }
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.len(file) && !bytes.is_empty() {
            changes.push(Change::Length { file, bytes: end });
        }
        changes
    }

    /// Makes a change. It never fails, whatever happened to those before it.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Sector { file, index, bytes } => {
                self.files.entry(*file).or_default().set_chunk(*index, Arc::clone(bytes));
            }
            Change::Length { file, bytes } => self.files.entry(*file).or_default().set_len(*bytes),
            Change::Names { edits, .. } => {
                let names = Arc::make_mut(&mut self.names);
                for (path, node) in edits.iter() {
                    names.set(path.clone(), node.clone());
                }
            }
        }
    }

    /// Makes a change that the power cut interrupted at byte `at` of the file. Of the bytes behind it only those can
    /// be wrong that were changing: powersafe overwrite, the one assumption that this disk shares with every log
    /// that puts two records into a sector.
    pub(super) fn apply_torn(&mut self, change: &Change, at: u64, rest: Rest, noise: u64) {
        match change {
            Change::Sector { file, index, bytes } => {
                let start = index.saturating_mul(SECTOR as u64);
                let whole = usize::try_from(at.saturating_sub(start)).unwrap_or(SECTOR).min(SECTOR);
                let mut sector = self.sector(*file, *index).map_or([0; SECTOR], |old| **old);
                sector[..whole].copy_from_slice(&bytes[..whole]);
                let garbage = (0_u64..).flat_map(|word| mix(noise ^ start, word).to_le_bytes());
                for ((byte, new), garbage) in sector.iter_mut().zip(bytes.iter()).zip(garbage).skip(whole) {
                    if byte != new {
                        *byte = match rest {
                            Rest::Old => *byte,
                            Rest::Zero => 0,
                            Rest::Garbage => garbage,
                        };
                    }
                }
                self.apply(&Change::Sector { file: *file, index: *index, bytes: Arc::new(sector) });
            }
            Change::Length { file, bytes } if rest == Rest::Old => {
                let reached = at.min(*bytes).max(self.len(*file));
                self.apply(&Change::Length { file: *file, bytes: reached });
            }
            Change::Length { .. } | Change::Names { .. } => self.apply(change),
        }
    }

    /// Turns what survived into a disk that can be used: names need their directory, bytes a length, files a name.
    pub(super) fn settle(&mut self) {
        if !self.names.is_whole() {
            Arc::make_mut(&mut self.names).prune();
        }
        let named = self.names.file_ids();
        self.files.retain(|id, _| named.contains(id));
        for content in self.files.values_mut() {
            content.trim();
        }
    }

    /// A hash of all names, lengths and bytes.
    pub(super) fn fingerprint(&self) -> u128 {
        let mut hasher = Xxh3::new();
        for (path, node) in self.names.iter() {
            // Neither a name nor an index can run into what follows it: each has its length or a fixed width.
            let name = path.as_os_str().as_encoded_bytes();
            hasher.update(&name.len().to_le_bytes());
            hasher.update(name);
            let Node::File(id) = node else {
                hasher.update(&u64::MAX.to_le_bytes());
                continue;
            };
            let Some(content) = self.files.get(id) else {
                hasher.update(&0_u64.to_le_bytes());
                continue;
            };
            hasher.update(&content.len().to_le_bytes());
            hasher.update(&content.fingerprint().to_le_bytes());
        }
        hasher.digest128()
    }
}

impl Tree<FileId> {
    /// The files that have a name.
    pub(super) fn file_ids(&self) -> std::collections::BTreeSet<FileId> {
        let ids = self.iter().filter_map(|(_, node)| match node {
            Node::File(id) => Some(*id),
            Node::Dir => None,
        });
        ids.collect()
    }
}
