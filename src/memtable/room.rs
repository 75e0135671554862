//! Room on the heap for the versions that a thread is about to make.
//!
//! glibc gives each thread but the first a heap of its own, and lets it grow a page at a time: each time a system call
//! that stops the page faults of all threads (51,000 of them while five million entries are loaded by two). So the
//! thread asks for a few megabytes in large pieces and gives them back at once. They stay in its heap, and the versions
//! that come next are cut from them. Loading a checkpoint by two threads takes a fifth less time with this
//! (`docs/guide/recovery.md`); where the allocator is another, it changes nothing.

/// What keeps the heap as large as it was made.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The last piece: a heap whose end is free would be given back to the system.
    last: Option<Vec<u8>>,
    /// For so many bytes in all.
    bytes: usize,
}

/// Small enough to be taken from the heap: what is larger the allocator asks of the system by itself.
const PIECE_BYTES: usize = 64 << 10;

/// How much room is made at a time.
const PIECES: usize = 64;

/// Nothing is done before there are so many bytes: short runs fit into what the heap has.
const WORTH_IT: usize = 256 << 10;

impl Room {
    /// Makes room for more, if `used` bytes is all that there was.
    pub(super) fn extend(&mut self, used: usize) {
        if used >= self.bytes.max(WORTH_IT) {
            let mut pieces: Vec<Vec<u8>> = (0..PIECES).map(|_| Vec::with_capacity(PIECE_BYTES)).collect();
            self.last = pieces.pop();
            self.bytes = used + PIECES * PIECE_BYTES;
        }
    }
}
