//! A range of keys as the half-open interval `[start, end)`.
//!
//! Four kinds of bounds would mean four cases at each comparison. Keys are byte strings, so the key right after `k`
//! is `k` and a zero byte, and every range can be said with an inclusive start and an exclusive end:
//!
//! ```text
//!  Included(k)..          start = k          ..Excluded(k)     end = k
//!  Excluded(k)..          start = k 00       ..=k              end = k 00
//!  Unbounded              start = ""         Unbounded         end = none
//! ```

use std::ops::Bound;

/// A range of keys, as two bounds.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// `[start, end)`; without an `end` it reaches to the last key.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    pub(super) start: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
}

impl Interval {
    pub(super) fn of((start, end): &KeyRange) -> Interval {
        Interval {
            start: match start {
                Bound::Included(key) => key.clone(),
                Bound::Excluded(key) => key_after(key),
                Bound::Unbounded => Vec::new(),
            },
            end: match end {
                Bound::Included(key) => Some(key_after(key)),
                Bound::Excluded(key) => Some(key.clone()),
                Bound::Unbounded => None,
            },
        }
    }

    pub(super) fn is_from_start(&self, key: &[u8]) -> bool {
        *self.start <= *key
    }

    pub(super) fn is_below_end(&self, key: &[u8]) -> bool {
        self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether it holds no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Leaves what lies at or after `key`.
    pub(super) fn start_at(&mut self, key: &[u8]) {
        self.start.clear();
        self.start.extend_from_slice(key);
    }

    /// Leaves what lies after `key`.
    pub(super) fn start_after(&mut self, key: &[u8]) {
        self.start_at(key);
        self.start.push(0);
    }

    /// Leaves what lies before `key`.
    pub(super) fn end_at(&mut self, key: &[u8]) {
        self.end = Some(key.to_vec());
    }

    /// Leaves nothing.
    pub(super) fn close(&mut self) {
        self.end = Some(Vec::new());
    }
}

/// The smallest key above `key`.
fn key_after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
