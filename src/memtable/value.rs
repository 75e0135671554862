//! What a reader gets to hold: [`Value`] and [`Entry`].
//!
//! Both share the memtable's own allocation, so reading copies nothing, and both stay valid whatever happens to the
//! store afterwards: overwritten, deleted, closed. Holding one keeps that one version in memory, nothing else.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::version::Version;
use crate::Lsn;

/// The bytes of a value, shared with the store. Cheap to clone, derefs to `[u8]`.
///
/// ```
/// use forelog::Lsn;
/// use forelog::memtable::{Memtable, Tracker};
///
/// let tracker = Tracker::new(Lsn::ZERO);
/// let table = Memtable::new(tracker.clone());
/// table.apply(Lsn::new(1), b"k", Some(b"v"));
/// tracker.publish(Lsn::new(1));
///
/// let value = table.get(b"k").unwrap();
/// assert_eq!(value, "v");
/// assert_eq!(value.len(), 1);
/// ```
#[derive(Clone)]
pub struct Value(Version);

impl Value {
    /// The value of this version; `None` for a tombstone.
    pub(super) fn of(version: &Version) -> Option<Value> {
        (!version.is_tombstone()).then(|| Value(version.clone()))
    }

    /// A value that stands in no table.
    pub(crate) fn new(bytes: &[u8]) -> Value {
        Value(Version::new(Lsn::ZERO, b"", Some(bytes)))
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.value()
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Vec<u8> {
        value.to_vec()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.deref().hash(state);
    }
}

impl Eq for Value {}

/// Equal to whatever has the same bytes: another value, a slice, a string, an array, a vector.
impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        self.deref() == other.as_ref()
    }
}

/// A key with its value and the LSN that wrote it, as a range gives it.
#[derive(Clone)]
pub struct Entry(Version);

impl Entry {
    /// The entry of this version; `None` for a tombstone.
    pub(super) fn of(version: &Version) -> Option<Entry> {
        (!version.is_tombstone()).then(|| Entry(version.clone()))
    }

    /// An entry that stands in no table, with the LSN 0.
    pub(crate) fn new(key: &[u8], value: &[u8]) -> Entry {
        Entry(Version::new(Lsn::ZERO, key, Some(value)))
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.0.key()
    }

    /// The value's bytes.
    pub fn value(&self) -> &[u8] {
        self.0.value()
    }

    /// The LSN of the batch that wrote this value.
    pub fn lsn(&self) -> Lsn {
        self.0.lsn()
    }

    /// The value alone, without a copy.
    pub fn into_value(self) -> Value {
        Value(self.0)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The newest thing that was applied to a key, published or not: what a condition is judged against.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The LSN that wrote it.
    pub lsn: Lsn,
    /// The value, or `None` if the key was deleted.
    pub value: Option<Value>,
}

impl Newest {
    pub(super) fn of(version: &Version) -> Newest {
        Newest { lsn: version.lsn(), value: Value::of(version) }
    }
}
