//! Open files and held locks of the simulated disk.

use std::io;
use std::path::PathBuf;

use super::super::content::checked_end;
use super::super::{Access, File, LockGuard};
use super::SimDisk;
use super::fault::{FaultKind, eio};
use super::image::{FileId, Place};
use super::operation::{Detail, Operation, OperationKind};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    /// The name under which it was opened, for descriptions and faults.
    pub(super) path: PathBuf,
    pub(super) file: FileId,
    pub(super) access: Access,
}

impl SimFile {
    fn operation(&self, kind: OperationKind) -> Operation<'_> {
        Operation::new(kind, &self.path)
    }

    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn resize(&self, bytes: u64, may_cut: bool) -> io::Result<()> {
        self.writable()?;
        let operation = self.operation(OperationKind::SetLen).with(Detail::Length(bytes));
        let (mut state, _) = self.disk.begin(&operation)?;
        if may_cut || state.cached.len(self.file) < bytes {
            state.set_len(&operation, self.file)
        } else {
            Ok(())
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let range = Detail::Range { offset, bytes: buffer.len() };
        let (state, fault) = self.disk.begin(&self.operation(OperationKind::Read).with(range))?;
        let most = match fault {
            Some(FaultKind::ShortRead(most)) => most.min(buffer.len()),
            _ => buffer.len(),
        };
        match state.cached.files.get(&self.file) {
            Some(content) => content.read_at(&mut buffer[..most], offset),
            None => checked_end(offset, most).map(|_| 0),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.writable()?;
        let range = Detail::Range { offset, bytes: bytes.len() };
        let operation = self.operation(OperationKind::Write).with(range);
        let (mut state, fault) = self.disk.begin(&operation)?;
        match fault {
            Some(FaultKind::ShortWrite(most)) => {
                state.write(&operation, self.file, &bytes[..most.min(bytes.len())])
            }
            Some(FaultKind::PartialWriteThenEio(most)) => {
                state.write(&operation, self.file, &bytes[..most.min(bytes.len())])?;
                Err(eio())
            }
            _ => state.write(&operation, self.file, bytes),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.cached.len(self.file))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.resize(bytes, true)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.resize(bytes, false)
    }

    /// Changes nothing.
    ///
    /// # Panics
    /// If what is there is not zeros, a disk may write zeros over it: that is a mistake of whoever calls this, but for a
    /// file that was changed past it ([`SimDisk::write_file`]).
    fn expect_writes(&self, offset: u64, len: u64) {
        let Ok(state) = self.disk.alive() else { return };
        if state.placed.contains(&self.file) {
            return;
        }
        let zeros = state.cached.files.get(&self.file).is_none_or(|content| content.is_zero(offset, len));
        assert!(zeros, "{}: what stands in {len} bytes at {offset} is not zeros", self.path.display());
    }

    fn sync_data(&self) -> io::Result<()> {
        // The length is saved too: `fdatasync` writes what is needed to read the bytes back.
        self.sync_all()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.sync(&self.operation(OperationKind::Sync), &Place::File(self.file))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut state) = self.disk.alive() {
            state.release(self.file);
        }
    }
}

#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) path: PathBuf,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Ok(mut state) = self.disk.alive() {
            state.locks.release(&self.path);
        }
    }
}
