//! How a running log ends: with a sync, a mark behind which nothing can come, and the directory given free.

use super::log::Log;
use super::tail::Records;
use crate::error::Result;
use crate::format::record::RecordKind;
use crate::sync::OnPanic;

impl Log {
    /// Syncs, writes the close mark and gives up the lock. A poisoned log writes nothing. Later calls do nothing.
    /// `ended` is called in between, when all of the log is durable and the directory still ours.
    pub(super) fn close(&self, ended: impl FnOnce()) -> Result<()> {
        // Held until all is done: another close returns when this one has.
        let mut held = self.lock.lock();
        let Some(lock) = held.take() else { return Ok(()) };
        // ORDER: dropped before the lock.
        let panicked = OnPanic(|| self.leave_the_directory(false));
        let result = self.poison.check().and_then(|()| self.end_with_mark()).map(|()| ended());
        panicked.all_is_well();
        // ORDER: before the lock goes, and with it the right to touch the directory.
        self.leave_the_directory(result.is_ok());
        drop(lock);
        self.owe_wakes();
        result
    }

    /// Gives up the lock and writes nothing: for a log that nobody will miss.
    pub(super) fn abandon(&self) {
        self.leave_the_directory(true);
        self.lock.lock().take();
    }

    /// Once this has returned, no thread touches the directory any more: it may have another owner.
    fn leave_the_directory(&self, is_sound: bool) {
        self.tail.lock().closed = true;
        // ORDER: then. Whoever removes files holds this, and looks at `closed` before each of them.
        drop(self.removing.lock());
        self.spare.end(&self.dir, is_sound);
    }

    /// Writes the close mark, behind which nothing can come, and syncs it.
    fn end_with_mark(&self) -> Result<()> {
        // What the mark is to prove must be durable before it is written.
        self.sync_to(self.written(), 1)?;
        let mut tail = self.tail.lock();
        // ORDER: closed in the same moment. A write of another thread that came behind the mark would not be synced
        // by anyone, although an interval was promised for it.
        tail.closed = true;
        // A log that was only opened and read keeps the close mark that it has.
        if !tail.appended_since_open && tail.last_kind == Some(RecordKind::CloseMark) {
            return Ok(());
        }
        self.poison.check()?;
        let result = self.guard(|| self.write_group(&mut tail, Records::mark(RecordKind::CloseMark)));
        drop(tail);
        self.sync_to(result?, 1)
    }
}
