//! The spare: the file of the segment to come, made in the background before it is needed, so that a rotation has only
//! its header left to write.
//!
//! It is asked for when the current segment is half full. What a crash leaves behind is a `*.tmp` file, which the next
//! opening removes; a spare that cannot be made (a full disk) is no failure of the log: the rotation tries again, and
//! only then does it count.
//!
//! A spare is a sparse file that is already as long as it will be. It gets its blocks later, a stretch at a time and only
//! where syncs follow: see `tail`.

use crate::error::{Error, Result};
use crate::format::names;
use crate::storage::dir::{Dir, DirFile};
use crate::sync::{AtomicBool, Mutex, Ordering};

use super::build::create_empty;

/// The spare of a log, if there is one.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// Whoever makes, names or removes a `spare.tmp` of this log holds it: there is one such name. So a rotation waits
    /// for a spare that is almost there, instead of making another.
    state: Mutex<State>,
    /// One is wanted and was not tried yet. ORDER: Relaxed; it only says that a look is worth it.
    wanted: AtomicBool,
    /// One is there, or was tried and could not be made: not to be asked for before the next rotation.
    tried: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    file: Option<DirFile>,
    /// The log is closed. INVARIANT: from then on nothing here touches the directory, which may have another owner.
    ended: bool,
}

impl Spare {
    /// Asks for a spare, once for each rotation.
    pub(super) fn ask(&self) {
        if !self.tried.load(Ordering::Relaxed) {
            self.tried.store(true, Ordering::Relaxed);
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Makes the spare, durable in all but its name, if there is none. What a failed attempt has left is removed.
    pub(super) fn prepare(&self, dir: &Dir, bytes: u64) -> Result<()> {
        let mut state = self.state.lock();
        self.wanted.store(false, Ordering::Relaxed);
        if state.ended {
            return Err(Error::Closed);
        }
        if state.file.is_none() {
            let made = create_empty(dir, bytes).and_then(|file| file.sync_all().map(|()| file));
            match made {
                Ok(file) => state.file = Some(file),
                Err(error) => {
                    // If it cannot be removed either, the rotation will say so.
                    let _ = dir.remove(names::SPARE_TMP);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives the spare, if there is one, to whoever builds a segment. Another may be asked for from here on.
    pub(super) fn give<T>(&self, build: impl FnOnce(Option<DirFile>) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        self.wanted.store(false, Ordering::Relaxed);
        self.tried.store(false, Ordering::Relaxed);
        build(state.file.take())
    }

    /// Ends with the log. A spare is removed if `tidy`; what stays, the next opening removes.
    pub(super) fn end(&self, dir: &Dir, tidy: bool) {
        let mut state = self.state.lock();
        state.ended = true;
        if state.file.take().is_some() && tidy {
            let _ = dir.remove(names::SPARE_TMP);
        }
    }
}
