//! The simulated disk as a [`Storage`]: each call passes one gate, which counts it and knows its faults, and is then
//! the state's to carry out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::super::tree::normal;
use super::super::{Access, File, LockGuard, Storage};
use super::SimDisk;
use super::fault::{FaultKind, eio};
use super::file::{SimFile, SimLock};
use super::image::{FileId, Place};
use super::operation::{Detail, Operation, OperationKind};
use super::state::State;

impl SimDisk {
    /// Begins an operation: the disk, if this handle is alive, and the fault to act out, if any.
    pub(super) fn begin(
        &self,
        operation: &Operation<'_>,
    ) -> io::Result<(MutexGuard<'_, State>, Option<FaultKind>)> {
        let mut state = self.alive()?;
        state.operations += 1;
        let fault = state.faults.strike(operation)?;
        Ok((state, fault))
    }

    pub(super) fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.process == self.process {
            Ok(state)
        } else {
            Err(io::Error::other("the process that had this handle is dead, or the power is off"))
        }
    }

    /// A sync of a file or of a directory.
    pub(super) fn sync(&self, operation: &Operation<'_>, place: &Place) -> io::Result<()> {
        let (mut state, fault) = self.begin(operation)?;
        if let Place::Dir(dir) = place {
            state.cached.names.dir(dir)?;
        }
        match fault {
            Some(FaultKind::SyncLost) => state.lose(operation, place),
            Some(FaultKind::SyncReverted) => state.revert(operation, place),
            Some(FaultKind::SyncStall(time)) => {
                // Only what was written before the sync began is sure to be saved, so the work comes first.
                state.sync(operation, place);
                drop(state);
                std::thread::sleep(time);
                return Ok(());
            }
            _ => {
                state.sync(operation, place);
                return Ok(());
            }
        }
        Err(eio())
    }

    fn handle(&self, state: &mut State, path: PathBuf, file: FileId, access: Access) -> Arc<dyn File> {
        state.hold(file);
        Arc::new(SimFile { disk: self.clone(), path, file, access })
    }
}

impl Storage for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = normal(path);
        let operation = Operation::new(OperationKind::Create, &path);
        let (mut state, _) = self.begin(&operation)?;
        let file = state.create(&operation)?;
        Ok(self.handle(&mut state, path, file, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let path = normal(path);
        let (mut state, _) = self.begin(&Operation::new(OperationKind::Open, &path))?;
        let file = *state.cached.names.file(&path)?;
        Ok(self.handle(&mut state, path, file, access))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from), normal(to));
        let operation = Operation::new(OperationKind::Rename, &from).with(Detail::NewName(&to));
        self.begin(&operation)?.0.rename(&operation, &to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let operation = Operation::new(OperationKind::Remove, &path);
        self.begin(&operation)?.0.remove(&operation)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let operation = Operation::new(OperationKind::CreateDir, &path);
        self.begin(&operation)?.0.create_dir(&operation)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = normal(dir);
        self.begin(&Operation::new(OperationKind::List, &dir))?.0.cached.names.list(&dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = normal(dir);
        self.sync(&Operation::new(OperationKind::SyncDir, &dir), &Place::Dir(dir.clone()))
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>> {
        let path = normal(path);
        let operation = Operation::new(OperationKind::Lock, &path);
        let (mut state, _) = self.begin(&operation)?;
        if exclusive && state.cached.names.get(&path).is_none() {
            state.create(&operation)?;
        }
        state.cached.names.file(&path)?;
        state.locks.take(&path, exclusive)?;
        Ok(Box::new(SimLock { disk: self.clone(), path }))
    }

    fn now_us(&self) -> u64 {
        self.state.lock().ambient.now_us()
    }

    fn random_u64(&self) -> u64 {
        self.state.lock().ambient.random_u64()
    }
}
