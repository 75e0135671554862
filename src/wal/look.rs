//! Looking at a directory that a writer in another process may be changing.

use std::io;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::format::names;
use crate::storage::dir::Dir;

/// How often a changing directory is looked at before that is given up.
const MAX_LOOKS: u32 = 100;

/// After so many looks the pauses between them begin, and grow by one.
const LOOKS_PER_PAUSE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(2);

/// Looks at a log that a writer may be changing: `look` is told whether there is one.
///
/// A segment may be added or go between two steps of a look, and a writer may come. So what went wrong while
/// something changed is looked at again; what went wrong and stayed as it was is true. So is what went well, unless a writer
/// has come: then what had been written may not have been all durable.
pub(crate) fn look_again<T>(dir: &Dir, mut look: impl FnMut(bool) -> Result<T>) -> Result<T> {
    let mut looks = 0;
    loop {
        let before = (dir.list()?, is_live(dir)?);
        let result = look(before.1);
        looks += 1;
        let after = (dir.list()?, is_live(dir)?);
        let has_come = after.1 && !before.1;
        if before == after || (result.is_ok() && !has_come) {
            return result;
        }
        if looks == MAX_LOOKS {
            // What was seen last may be true or not, so it is not what is said.
            let reason = "a writer changes the log faster than it can be read; try again";
            let source = io::Error::new(io::ErrorKind::WouldBlock, reason);
            return Err(Error::io("read", dir.path(), source));
        }
        // A writer that removes many segments changes the directory faster than it can be looked at: give it time.
        thread::sleep(PAUSE * (looks / LOOKS_PER_PAUSE));
    }
}

/// True if a writer has the directory open. The shared lock that finds this out is held for a moment only.
pub(crate) fn is_live(dir: &Dir) -> Result<bool> {
    match dir.lock(names::LOCK, false) {
        Ok(_) => Ok(false),
        Err(Error::Locked { .. }) => Ok(true),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Looks at a directory that a writer may be changing, as [`look_again`] does: what looks like damage is worth a second
/// look, too, if anything changed meanwhile.
pub(crate) fn look_for_damage<T>(
    dir: &Dir,
    is_damage: impl Fn(&T) -> bool,
    mut look: impl FnMut(bool) -> Result<T>,
) -> Result<T> {
    let mut damage = None;
    let result = look_again(dir, |live| {
        damage = None;
        let found = look(live)?;
        if is_damage(&found) {
            damage = Some(found);
            return Err(Error::Closed);
        }
        Ok(found)
    });
    match (result, damage) {
        (Err(Error::Closed), Some(damage)) => Ok(damage),
        (result, _) => result,
    }
}
