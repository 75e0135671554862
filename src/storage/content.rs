//! The bytes of a file of the in-memory and the simulated disk: a length and a sparse map of chunks.
//!
//! ```text
//! length 1300    chunk 0 [0, 512)     not there: zeros
//!                chunk 1 [512, 1024)  Arc<[u8; 512]>
//!                chunk 2 [1024, 1300) Arc<[u8; 512]>, zeros from byte 276 on
//! ```
//!
//! Sparse, so that no length, however wrong, allocates anything. The chunks and the map are shared until written
//! to, so that a copy of a whole disk costs next to nothing: the crash tests make hundreds of thousands.
//!
//! The length stands apart from the chunks, because on a disk either may survive without the other.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::Xxh3;

/// No file is longer: the offset type of the operating system is signed.
const MAX_LEN: u64 = i64::MAX.unsigned_abs();

/// A file's bytes in chunks of `N`.
#[derive(Clone, Debug, Default)]
pub(super) struct Content<const N: usize> {
    len: u64,
    /// INVARIANT: what is beyond `len` is zero or not there, except between the first and the last change of one
    /// operation.
    chunks: Arc<Chunks<N>>,
}

#[derive(Clone, Debug, Default)]
struct Chunks<const N: usize> {
    by_index: BTreeMap<u64, Arc<[u8; N]>>,
    /// Computed when first asked for; shared with the chunks, so that of many similar disks each file is hashed once.
    fingerprint: OnceLock<u128>,
}

impl<const N: usize> Content<N> {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn chunks(&self) -> impl Iterator<Item = (u64, &Arc<[u8; N]>)> {
        self.chunks.by_index.iter().map(|(index, chunk)| (*index, chunk))
    }

    pub(super) fn chunk(&self, index: u64) -> Option<&Arc<[u8; N]>> {
        self.chunks.by_index.get(&index)
    }

    pub(super) fn set_chunk(&mut self, index: u64, chunk: Arc<[u8; N]>) {
        self.chunks_mut().insert(index, chunk);
    }

    /// Fills the buffer from `offset` on as far as the file goes.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        checked_end(offset, buffer.len())?;
        let there = self.len.saturating_sub(offset);
        let count = usize::try_from(there).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        for (index, within, len) in pieces::<N>(offset, count) {
            let target = &mut buffer[filled..filled + len];
            match self.chunks.by_index.get(&index) {
                Some(chunk) => target.copy_from_slice(&chunk[within..within + len]),
                None => target.fill(0),
            }
            filled += len;
        }
        Ok(count)
    }

    /// True if nothing but zeros is read in this range.
    pub(super) fn is_zero(&self, offset: u64, len: u64) -> bool {
        let last = position::<N>(offset.saturating_add(len)).0;
        let chunks = self.chunks.by_index.range(position::<N>(offset).0..=last);
        let in_range = |at: &u64| *at >= offset && *at - offset < len;
        let mut bytes = chunks.flat_map(|(index, chunk)| (index * N as u64..).zip(chunk.iter()));
        bytes.all(|(at, byte)| *byte == 0 || !in_range(&at))
    }

    /// Writes all bytes, extending the file where needed.
    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = checked_end(offset, bytes.len())?;
        let chunks = self.chunks_mut();
        let mut rest = bytes;
        for (index, within, len) in pieces::<N>(offset, bytes.len()) {
            let (piece, after) = rest.split_at(len);
            let chunk = chunks.entry(index).or_insert_with(|| Arc::new([0; N]));
            Arc::make_mut(chunk)[within..within + len].copy_from_slice(piece);
            rest = after;
        }
        if !bytes.is_empty() {
            self.len = self.len.max(end);
        }
        Ok(())
    }

    /// Cuts or extends; what is added reads as zeros. The caller checks the length with [`checked_end`].
    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.trim();
    }

    /// A hash of the bytes, but not of the length.
    pub(super) fn fingerprint(&self) -> u128 {
        *self.chunks.fingerprint.get_or_init(|| {
            let mut hasher = Xxh3::new();
            // A chunk of zeros and one that is not there are the same.
            for (index, chunk) in self.chunks().filter(|(_, chunk)| chunk.iter().any(|byte| *byte != 0)) {
                hasher.update(&index.to_le_bytes());
                hasher.update(&**chunk);
            }
            hasher.digest128()
        })
    }

    fn chunks_mut(&mut self) -> &mut BTreeMap<u64, Arc<[u8; N]>> {
        let chunks = Arc::make_mut(&mut self.chunks);
        chunks.fingerprint.take();
        &mut chunks.by_index
    }

    /// Drops what is beyond the length.
    pub(super) fn trim(&mut self) {
        let (last, within) = position::<N>(self.len);
        let stale = |(index, chunk): (&u64, &Arc<[u8; N]>)| {
            *index > last || chunk[within..].iter().any(|byte| *byte != 0)
        };
        if !self.chunks.by_index.range(last..).any(stale) {
            return;
        }
        let chunks = self.chunks_mut();
        let mut beyond = chunks.split_off(&last);
        if within > 0
            && let Some(mut chunk) = beyond.remove(&last)
        {
            Arc::make_mut(&mut chunk)[within..].fill(0);
            chunks.insert(last, chunk);
        }
    }
}

/// The end of a range, if a file may be that long.
pub(super) fn checked_end(offset: u64, bytes: usize) -> io::Result<u64> {
    let end = offset.checked_add(bytes as u64).filter(|end| *end <= MAX_LEN);
    end.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The chunk of a position, and the place in it.
pub(super) fn position<const N: usize>(offset: u64) -> (u64, usize) {
    let chunk = N as u64;
    // A remainder below N, which is a usize, always fits.
    (offset / chunk, usize::try_from(offset % chunk).unwrap_or_default())
}

/// A range, cut where chunks begin: (chunk, place in it, length).
pub(super) fn pieces<const N: usize>(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let (mut index, mut within) = position::<N>(offset);
    let mut left = bytes;
    std::iter::from_fn(move || {
        let piece = (index, within, left.min(N - within));
        (index, within, left) = (index + 1, 0, left - piece.2);
        (piece.2 > 0).then_some(piece)
    })
}
