//! An archive whose objects are compressed: LZ4 frames, by `lz4_flex`.
//!
//! Each object stands in the archive below under its name and `.lz4`, as a frame with a checksum of its content. What is
//! there without that ending is read as it is, so compression can begin at any time.
//!
//! Both ways go in one pass and take memory for a few blocks, however large the object. Reading is made for readers that
//! go forward: the last stretch is kept, and whoever wants what lies before it makes the frame be read again.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};
use parking_lot::Mutex;

use super::{ArchiveTarget, File};

const ENDING: &str = ".lz4";

/// How much of what was read is kept: more than readers go back for, but for the longest records.
const KEPT_BYTES: usize = 4 << 20;

/// How much goes into the compressor at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Compresses what goes into another archive, and reads both what is compressed there and what is not.
///
/// ```
/// use std::sync::Arc;
/// use forelog::storage::{Compressed, DirArchive, RealDisk};
/// use forelog::{Db, Options};
///
/// let dir = tempfile::tempdir()?;
/// let archive = DirArchive::new(Arc::new(RealDisk), dir.path().join("archive"))?;
/// let options = Options::new().archive_target(Some(Arc::new(Compressed::new(archive))));
/// let db = options.open(dir.path().join("data"))?;
/// db.put("a", "1")?;
/// db.checkpoint()?;
/// assert_eq!(db.stats().archive_failure, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compressed<A> {
    archive: A,
}

impl<A: ArchiveTarget> Compressed<A> {
    /// What goes into `archive` is compressed.
    pub fn new(archive: A) -> Compressed<A> {
        Compressed { archive }
    }
}

impl<A: ArchiveTarget> ArchiveTarget for Compressed<A> {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.archive.list()?.into_iter();
        Ok(names.map(|name| name.strip_suffix(ENDING).map_or(name.clone(), str::to_owned)).collect())
    }

    fn store(
        &self,
        name: &str,
        content: &mut dyn Read,
        check: &dyn Fn(Arc<dyn File>) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.archive.list()?.iter().any(|taken| taken == name) {
            // Not compressed: the archive below says that it is there, as it says it of all others.
            return self.archive.store(name, content, check);
        }
        let info = FrameInfo::new().content_checksum(true);
        let encoder = FrameEncoder::with_frame_info(info, Vec::new());
        let mut frame = Frame { content, encoder: Some(encoder), ready: Vec::new(), at: 0 };
        let check = |file| check(Arc::new(Decompressed::new(file)?));
        self.archive.store(&format!("{name}{ENDING}"), &mut frame, &check)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        match self.archive.open(&format!("{name}{ENDING}")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.archive.open(name),
            opened => Ok(Arc::new(Decompressed::new(opened?)?)),
        }
    }
}

/// The compressed form of a content, as it is read.
struct Frame<'a> {
    content: &'a mut dyn Read,
    /// `None` when all is in.
    encoder: Option<FrameEncoder<Vec<u8>>>,
    ready: Vec<u8>,
    at: usize,
}

impl Read for Frame<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() {
            let Some(mut encoder) = self.encoder.take() else { return Ok(0) };
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = self.content.read(&mut chunk)?;
            self.at = 0;
            if read == 0 {
                self.ready = encoder.finish().map_err(io::Error::other)?;
            } else {
                encoder.write_all(&chunk[..read])?;
                self.ready = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
            }
        }
        let wanted = buffer.len().min(self.ready.len() - self.at);
        buffer[..wanted].copy_from_slice(&self.ready[self.at..self.at + wanted]);
        self.at += wanted;
        Ok(wanted)
    }
}

/// The content of a compressed file.
struct Decompressed {
    file: Arc<dyn File>,
    len: u64,
    pass: Mutex<Pass>,
}

/// One way through the frame.
struct Pass {
    decoder: FrameDecoder<FileReader>,
    /// The last bytes that were decoded, up to `end`.
    recent: Vec<u8>,
    end: u64,
}

impl Pass {
    fn new(file: &Arc<dyn File>) -> Pass {
        let reader = FileReader { file: file.clone(), at: 0 };
        Pass { decoder: FrameDecoder::new(reader), recent: Vec::new(), end: 0 }
    }

    fn begin(&self) -> u64 {
        self.end - self.recent.len() as u64
    }

    /// Decodes some more; false at the end.
    fn go_on(&mut self) -> io::Result<bool> {
        if self.recent.len() >= 2 * KEPT_BYTES {
            self.recent.drain(..KEPT_BYTES);
        }
        let kept = self.recent.len();
        self.recent.resize(kept + CHUNK_BYTES, 0);
        let read = self.decoder.read(&mut self.recent[kept..]).map_err(damage)?;
        self.recent.truncate(kept + read);
        self.end += read as u64;
        Ok(read > 0)
    }
}

impl Decompressed {
    /// Reads the frame once: it is whole then, and its length is known.
    fn new(file: Arc<dyn File>) -> io::Result<Decompressed> {
        let mut pass = Pass::new(&file);
        while pass.go_on()? {}
        let len = pass.end;
        Ok(Decompressed { pass: Mutex::new(Pass::new(&file)), file, len })
    }
}

impl fmt::Debug for Decompressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressed")
            .field("file", &self.file)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What the decoder says of what it was given is no failure of the disk, which would be passed on as it is.
fn damage(error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(_) => io::Error::new(io::ErrorKind::InvalidData, error),
        None => error,
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "an object of an archive is only read"))
}

impl File for Decompressed {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut pass = self.pass.lock();
        if offset < pass.begin() {
            *pass = Pass::new(&self.file);
        }
        while pass.end <= offset {
            if !pass.go_on()? {
                return Ok(0);
            }
        }
        let from = usize::try_from(offset - pass.begin()).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(pass.recent.len() - from);
        buffer[..wanted].copy_from_slice(&pass.recent[from..from + wanted]);
        Ok(wanted)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        read_only()
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
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

/// A file from its beginning to its end.
struct FileReader {
    file: Arc<dyn File>,
    at: u64,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    //! Shows that content comes back as it was, wherever it is read, that it takes less room, and that damage is noticed.
    use super::super::{DirArchive, SimDisk, read_full_at};
    use super::*;

    #[test]
    fn content_comes_back() {
        let disk = SimDisk::new(1);
        let plain = DirArchive::new(Arc::new(disk.clone()), "a").unwrap();
        let content: Vec<u8> = (0..12_000_000_u32).map(|i| (i / 1000 % 251) as u8).collect();
        plain.store("old", &mut &content[..100], &|_| Ok(())).unwrap();
        let archive = Compressed::new(plain);
        let check = |file: Arc<dyn File>| {
            assert_eq!(file.len().unwrap(), content.len() as u64);
            Ok(())
        };
        archive.store("x", &mut &content[..], &check).unwrap();
        let again = archive.store("x", &mut &content[..], &check);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(archive.list().unwrap(), ["old", "x"]);
        let frame = disk.read_file("a/x.lz4").unwrap();
        assert!(frame.len() * 20 < content.len());
        let file = archive.open("x").unwrap();
        for (offset, len) in
            [(0, 100), (11_999_990, 100), (3, 7_000_000), (5_000_000, 1), (12_000_000, 5), (0, 1)]
        {
            let mut bytes = vec![0; len];
            let filled = read_full_at(&*file, &mut bytes, offset as u64).unwrap();
            let expected = &content[offset..content.len().min(offset + len)];
            assert_eq!(&bytes[..filled], expected, "{len} at {offset}");
        }
        assert_eq!(archive.open("old").unwrap().len().unwrap(), 100);

        let mut damaged = frame;
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        disk.write_file("a/x.lz4", &damaged);
        assert!(archive.open("x").is_err());
    }
}
