//! Who holds which lock on the in-memory and the simulated disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The locks held, by path. As with the kernel's, one exclusive or many shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks(BTreeMap<PathBuf, Held>);

#[derive(Clone, Debug)]
enum Held {
    Exclusive,
    Shared(usize),
}

impl Locks {
    /// Takes a lock, or says `WouldBlock`.
    pub(super) fn take(&mut self, path: &Path, exclusive: bool) -> io::Result<()> {
        match (self.0.get_mut(path), exclusive) {
            (None, true) => _ = self.0.insert(path.to_owned(), Held::Exclusive),
            (None, false) => _ = self.0.insert(path.to_owned(), Held::Shared(1)),
            (Some(Held::Shared(count)), false) => *count += 1,
            (Some(_), _) => return Err(io::ErrorKind::WouldBlock.into()),
        }
        Ok(())
    }

    /// Gives one back.
    pub(super) fn release(&mut self, path: &Path) {
        match self.0.get_mut(path) {
            Some(Held::Shared(count)) if *count > 1 => *count -= 1,
            _ => _ = self.0.remove(path),
        }
    }
}
