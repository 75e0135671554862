//! A disk as somebody sees it who wants whatever is left of a store: bytes that cannot be read count as zeros, and a file
//! that the disk cannot open as one without any.
//!
//! Nothing with a checksum passes with zeros that were made up: a record or a block that has lost bytes is damaged, like
//! one whose bytes are wrong. Only the end of a log may look as if it came earlier, because a log ends in zeros. So whoever
//! reads through this must tell what could not be read: [`Lenient::unreadable`].

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Access, File, LockGuard, Storage, read_only};

/// What is tried by itself, in bytes: what a disk loses at least, and a file system reads at least.
const PIECE: u64 = 4096;

/// "Input/output error", on every Unix.
const EIO: i32 = 5;

/// The stretch that stands for a file that cannot be opened.
pub(crate) const WHOLE: Range<u64> = 0..u64::MAX;

/// By file: where stretches of bytes begin that could not be read, and where they end.
type Unreadable = Arc<Mutex<BTreeMap<PathBuf, BTreeMap<u64, u64>>>>;

/// A disk that is only read.
#[derive(Clone, Debug)]
pub(crate) struct Lenient {
    storage: Arc<dyn Storage>,
    unreadable: Unreadable,
}

impl Lenient {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Lenient {
        Lenient { storage, unreadable: Arc::default() }
    }

    /// What could not be read so far, of the files in a directory: by name, and in order.
    pub(crate) fn unreadable(&self, dir: &Path) -> Vec<(String, Range<u64>)> {
        let dir = self.storage.absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
        let found = self.unreadable.lock();
        let of_dir = found.iter().filter(|(path, _)| path.parent() == Some(&dir));
        let stretches = of_dir.flat_map(|(path, stretches)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            stretches.iter().map(move |(from, to)| (name.clone(), *from..*to))
        });
        stretches.collect()
    }
}

impl Storage for Lenient {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        read_only()
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        if access == Access::ReadWrite {
            return read_only();
        }
        let file = match self.storage.open(path, access) {
            // What is not there, or not allowed, is no matter of the disk.
            Err(error) if error.raw_os_error() == Some(EIO) => {
                note(self.unreadable.lock().entry(path.to_path_buf()).or_default(), WHOLE);
                None
            }
            opened => Some(opened?),
        };
        Ok(Arc::new(LenientFile { file, path: path.to_path_buf(), unreadable: self.unreadable.clone() }))
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.storage.list(dir)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }
    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn LockGuard>> {
        self.storage.lock(path, exclusive)
    }
    fn absolute(&self, path: &Path) -> io::Result<PathBuf> {
        self.storage.absolute(path)
    }
    fn now_us(&self) -> u64 {
        self.storage.now_us()
    }
    fn random_u64(&self) -> u64 {
        self.storage.random_u64()
    }
}

#[derive(Debug)]
struct LenientFile {
    /// `None` if it cannot be opened.
    file: Option<Arc<dyn File>>,
    path: PathBuf,
    unreadable: Unreadable,
}

impl LenientFile {
    /// The first stretch that is known to be unreadable and ends behind `offset`.
    fn known_from(&self, offset: u64) -> Option<(u64, u64)> {
        let unreadable = self.unreadable.lock();
        let stretches = unreadable.get(&self.path)?;
        let before = stretches.range(..=offset).next_back().filter(|(_, end)| **end > offset);
        let found = before.or_else(|| stretches.range(offset..).next());
        found.map(|(begin, end)| (*begin, *end))
    }
}

impl File for LenientFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        // What was found to be unreadable is not tried again: a disk may take seconds for each piece.
        let known = self.known_from(offset);
        if let Some((begin, end)) = known
            && begin <= offset
        {
            let len = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            buffer[..len].fill(0);
            return Ok(len);
        }
        let until = known.map_or(u64::MAX, |(begin, _)| begin - offset);
        let len = usize::try_from(until).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..len];
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {}
            read => return read,
        }
        // The piece at the beginning alone; whoever wants more goes on behind it.
        let end = (offset / PIECE + 1).saturating_mul(PIECE).min(file.len()?);
        let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let piece = &mut buffer[..len];
        match file.read_at(piece, offset) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                piece.fill(0);
                note(
                    self.unreadable.lock().entry(self.path.clone()).or_default(),
                    offset..offset + len as u64,
                );
                Ok(len)
            }
            read => read,
        }
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.as_ref().map_or(Ok(0), |file| file.len())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        read_only()
    }
    fn sync_data(&self) -> io::Result<()> {
        read_only()
    }
    fn sync_all(&self) -> io::Result<()> {
        read_only()
    }
}

/// Adds a stretch, joined with those that it meets.
fn note(stretches: &mut BTreeMap<u64, u64>, new: Range<u64>) {
    let (mut from, mut to) = (new.start, new.end);
    while let Some((begin, end)) = stretches.range(..=to).next_back().map(|(begin, end)| (*begin, *end))
        && end >= from
    {
        stretches.remove(&begin);
        (from, to) = (from.min(begin), to.max(end));
    }
    if from < to {
        stretches.insert(from, to);
    }
}

#[cfg(test)]
mod tests {
    //! Shows that stretches are joined, and that only what cannot be read is made up.
    use super::super::{Fault, FaultKind, OperationKind, SimDisk, read_full_at};
    use super::*;

    #[test]
    fn stretches_are_joined() {
        let mut stretches = BTreeMap::new();
        for (from, to) in [(10, 12), (20, 30), (5, 5), (12, 14), (1, 2), (13, 20), (25, 26)] {
            note(&mut stretches, from..to);
        }
        assert_eq!(stretches, BTreeMap::from([(1, 2), (10, 30)]));
    }

    #[test]
    fn what_cannot_be_read_is_zeros() {
        let disk = SimDisk::new(1);
        disk.write_file("dir/a", &[7; 10_000]);
        let lenient = Lenient::new(Arc::new(disk.clone()));
        let file = lenient.open(Path::new("dir/a"), Access::Read).unwrap();
        let read = || {
            let mut bytes = vec![1; 20_000];
            let len = read_full_at(&*file, &mut bytes, 5000).unwrap();
            bytes.truncate(len);
            bytes
        };
        assert_eq!(read(), [7; 5000]);
        // The whole, and its first piece.
        disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Read).at(1));
        disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Read).at(2));
        let first = 8192 - 5000;
        assert_eq!(read(), [vec![0; first], vec![7; 5000 - first]].concat());
        assert_eq!(lenient.unreadable(Path::new("dir")), [("a".to_owned(), 5000..8192)]);
        assert_eq!(lenient.unreadable(Path::new("other")), []);
        disk.fail(Fault::new(FaultKind::Eio).on(OperationKind::Read).forever());
        assert_eq!(read(), [0; 5000]);
        assert_eq!(lenient.unreadable(Path::new("dir")), [("a".to_owned(), 5000..10_000)]);
        assert!(lenient.create(Path::new("dir/b")).is_err() && file.write_at(b"x", 0).is_err());
    }
}
