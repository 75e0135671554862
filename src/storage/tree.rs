//! The names of the in-memory and the simulated disk: a tree of directories, flat in one ordered map.
//!
//! ```text
//! "data"            Dir
//! "data/LOCK"       File(T)      T: what a name stands for, an inode number or the file itself
//! "data/0001.wal"   File(T)
//! ```
//!
//! It only answers questions (with the errors that a file system would give) and takes edits; which edits an
//! operation makes, and when they become durable, is for its owners to say.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node<T> {
    Dir,
    File(T),
}

/// All names of a disk, by full path. The root is always there and is not listed.
#[derive(Clone, Debug)]
pub(super) struct Tree<T>(BTreeMap<PathBuf, Node<T>>);

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Tree<T> {
    /// The file of this name.
    pub(super) fn file(&self, path: &Path) -> io::Result<&T> {
        match self.0.get(path) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None if is_root(path) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(self.missing(path)),
        }
    }

    /// Ok if there is a directory of this name.
    pub(super) fn dir(&self, path: &Path) -> io::Result<()> {
        match self.0.get(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None if is_root(path) => Ok(()),
            None => Err(self.missing(path)),
        }
    }

    /// Ok if the name is free and its directory exists.
    pub(super) fn vacant(&self, path: &Path) -> io::Result<()> {
        if is_root(path) || self.0.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.dir(parent(path))
    }

    /// Ok if a file may be renamed to this name: it is free or another file's, and its directory exists.
    pub(super) fn replaceable(&self, path: &Path) -> io::Result<()> {
        if self.0.contains_key(path) { self.file(path).map(drop) } else { self.vacant(path) }
    }

    /// The names in a directory, sorted; those that are not UTF-8 are left out.
    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.dir(dir)?;
        let names = self.below(dir).filter(|(path, _)| parent(path) == dir);
        let mut names: Vec<String> =
            names.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// All names and what they stand for, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PathBuf, &Node<T>)> {
        self.0.iter()
    }

    /// What a name stands for, if anything.
    pub(super) fn get(&self, path: &Path) -> Option<&Node<T>> {
        self.0.get(path)
    }

    /// Gives a name a meaning, or takes it away. Asks nothing: an edit that survives a power cut may have lost those
    /// that it was built on.
    pub(super) fn set(&mut self, path: PathBuf, node: Option<Node<T>>) {
        match node {
            Some(node) => self.0.insert(path, node),
            None => self.0.remove(&path),
        };
    }

    /// Makes the names in one directory what they are in another tree.
    pub(super) fn replace_dir(&mut self, dir: &Path, other: &Self)
    where
        T: Clone,
    {
        self.0.retain(|path, _| parent(path) != dir);
        let names = other.0.iter().filter(|(path, _)| parent(path) == dir);
        self.0.extend(names.map(|(path, node)| (path.clone(), node.clone())));
    }

    /// Drops the names whose directory is not there, and what is below them.
    pub(super) fn prune(&mut self) {
        while let Some(orphan) = self.0.keys().find(|path| self.dir(parent(path)).is_err()).cloned() {
            self.0.remove(&orphan);
        }
    }

    /// True if each name's directory is there, so that there is nothing to prune.
    pub(super) fn is_whole(&self) -> bool {
        self.0.keys().all(|path| self.dir(parent(path)).is_ok())
    }

    fn below<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Node<T>)> {
        // Paths order by component, so that what a directory holds follows it at once.
        self.0
            .range(dir.to_owned()..)
            .skip_while(move |(path, _)| *path == dir)
            .take_while(move |(path, _)| path.starts_with(dir))
    }

    /// The error for a name that is not there: one of its ancestors may be a file.
    fn missing(&self, path: &Path) -> io::Error {
        let below_a_file =
            path.ancestors().skip(1).any(|above| matches!(self.0.get(above), Some(Node::File(_))));
        if below_a_file { io::ErrorKind::NotADirectory.into() } else { io::ErrorKind::NotFound.into() }
    }
}

/// One spelling for each path: relative to the root, without `.` and `..`. The root is the empty path.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    normal
}

/// The directory that a normal path is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
