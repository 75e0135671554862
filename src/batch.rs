//! A write batch: puts and deletes that become visible and durable together.
//!
//! A batch is encoded while it is built, in the caller's thread and outside every lock: its bytes **are** the log's
//! payload. Beside them it remembers where each key and value stands, so that applying it needs no decoding.
//!
//! INVARIANT: an encoded batch holds each key once. The memtable's law "the newest LSN wins, whatever the order"
//! rests on it. `WriteBatch::seal` restores it: the last operation on a key wins.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::{KeyspaceId, MAX_KEY_BYTES, Op, StoreId};

/// Puts and deletes that become visible and durable together, or not at all.
///
/// Operations count in their order: the last one on a key wins.
///
/// ```
/// use forelog::{Db, WriteBatch};
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let mut batch = WriteBatch::new();
/// batch.put("from", "90");
/// batch.put("to", "110");
/// batch.delete("pending");
/// db.write(batch)?;
/// assert_eq!(db.get("to")?.as_deref(), Some(&b"110"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    body: Vec<u8>,
    spans: Vec<Span>,
    /// The store whose keyspaces were named by their handles.
    store: Option<StoreId>,
    /// A handle of another store came after it.
    mixed: bool,
}

/// A keyspace as a batch names it: by its handle (`&users`), or by its number alone.
///
/// ```
/// use forelog::batch::KeyspaceRef;
/// use forelog::{Db, WriteBatch};
///
/// fn relocate(batch: &mut WriteBatch, key: &str, value: &str, [from, to]: [KeyspaceRef; 2]) {
///     batch.delete_in(from, key);
///     batch.put_in(to, key, value);
/// }
///
/// let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path().join("data"))?;
/// let (todo, done) = (db.keyspace("todo")?, db.keyspace("done")?);
/// todo.put("1", "read")?;
/// let mut batch = WriteBatch::new();
/// relocate(&mut batch, "1", "read", [(&todo).into(), (&done).into()]);
/// assert_eq!((batch.len(), batch.encoded_bytes()), (2, 13));
/// db.write(batch)?;
/// assert!(todo.is_empty() && done.contains("1")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyspaceRef {
    id: KeyspaceId,
    /// Whose number it is. A number alone is one of the store that the batch is written to.
    store: Option<StoreId>,
}

impl KeyspaceRef {
    pub(crate) fn of_store(id: KeyspaceId, store: StoreId) -> KeyspaceRef {
        KeyspaceRef { id, store: Some(store) }
    }
}

impl From<KeyspaceId> for KeyspaceRef {
    fn from(id: KeyspaceId) -> KeyspaceRef {
        KeyspaceRef { id, store: None }
    }
}

/// Where one operation's parts stand in the body.
#[derive(Clone, Debug)]
struct Span {
    keyspace: KeyspaceId,
    key: Range<usize>,
    /// `None` for a delete.
    value: Option<Range<usize>>,
}

impl WriteBatch {
    /// An empty batch. Writing it does nothing and gives no LSN.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Sets a key of the default keyspace.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.put_in(KeyspaceId::DEFAULT, key, value);
    }

    /// Removes a key of the default keyspace; no difference if it is absent.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.delete_in(KeyspaceId::DEFAULT, key);
    }

    /// Sets a key of a keyspace (`&users`, as [`Db::keyspace`](crate::Db::keyspace) gives it).
    pub fn put_in(
        &mut self,
        keyspace: impl Into<KeyspaceRef>,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) {
        let (keyspace, key, value) = (self.number(keyspace.into()), key.as_ref(), value.as_ref());
        self.reserve(key.len() + value.len());
        Op::Put { keyspace, key, value }.append_to(&mut self.body);
        // A put's bytes end with the length of the value and the value; before them stands the key.
        let value_at = self.body.len() - value.len();
        let key_end = value_at - varint_bytes(value.len());
        self.spans.push(Span {
            keyspace,
            key: key_end - key.len()..key_end,
            value: Some(value_at..self.body.len()),
        });
    }

    /// Removes a key of a keyspace; no difference if it is absent.
    pub fn delete_in(&mut self, keyspace: impl Into<KeyspaceRef>, key: impl AsRef<[u8]>) {
        let (keyspace, key) = (self.number(keyspace.into()), key.as_ref());
        self.reserve(key.len());
        Op::Delete { keyspace, key }.append_to(&mut self.body);
        let end = self.body.len();
        self.spans.push(Span { keyspace, key: end - key.len()..end, value: None });
    }

    /// Whether all keyspaces that were named by their handles are those of this store.
    pub(crate) fn is_for(&self, store: StoreId) -> bool {
        !self.mixed && self.store.is_none_or(|named| named == store)
    }

    /// Takes note of whose keyspace it is: the number alone would be taken for one of whatever store gets the batch.
    fn number(&mut self, keyspace: KeyspaceRef) -> KeyspaceId {
        if keyspace.store.is_some() && keyspace.store != self.store {
            self.mixed |= self.store.is_some();
            self.store = keyspace.store;
        }
        keyspace.id
    }

    /// Makes room for the first operation, in one step and no more than it takes: most batches have no second one.
    fn reserve(&mut self, bytes: usize) {
        if self.spans.is_empty() {
            self.spans.reserve_exact(1);
            self.body.reserve_exact(bytes + MAX_OP_OVERHEAD);
        }
    }

    /// How many operations the batch holds.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True without operations.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many bytes its operations take in the log.
    pub fn encoded_bytes(&self) -> usize {
        self.body.len()
    }

    /// Checks the keys' lengths and drops every operation that a later one on the same key overrides.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a key beyond [`MAX_KEY_BYTES`].
    pub(crate) fn seal(self) -> Result<SealedBatch> {
        if let Some(long) = self.spans.iter().find(|span| span.key.len() > MAX_KEY_BYTES) {
            return Err(Error::TooLarge {
                what: "key",
                size: long.key.len() as u64,
                limit: MAX_KEY_BYTES as u64,
            });
        }
        Ok(SealedBatch(if self.has_a_key_twice() { self.last_wins() } else { self }))
    }

    fn has_a_key_twice(&self) -> bool {
        let mut seen = HashSet::with_capacity(self.spans.len());
        self.spans.len() > 1
            && !self.spans.iter().all(|span| seen.insert((span.keyspace, &self.body[span.key.clone()])))
    }

    fn last_wins(&self) -> WriteBatch {
        let mut last = HashMap::with_capacity(self.spans.len());
        for (index, span) in self.spans.iter().enumerate() {
            match last.entry((span.keyspace, &self.body[span.key.clone()])) {
                Entry::Occupied(mut earlier) => *earlier.get_mut() = index,
                Entry::Vacant(free) => {
                    free.insert(index);
                }
            }
        }
        let mut kept: Vec<usize> = last.into_values().collect();
        kept.sort_unstable();
        let mut batch = WriteBatch::new();
        for index in kept {
            let span = &self.spans[index];
            let key = &self.body[span.key.clone()];
            match &span.value {
                Some(value) => batch.put_in(span.keyspace, key, &self.body[value.clone()]),
                None => batch.delete_in(span.keyspace, key),
            }
        }
        batch
    }
}

/// The most that an operation takes beside its key and its value, in bytes: a tag, a keyspace and two lengths.
const MAX_OP_OVERHEAD: usize = 1 + 5 + 9 + 9;

/// Bytes of a length in the codec's variable-length form.
const fn varint_bytes(number: usize) -> usize {
    match number {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// A batch that holds each key once, ready for the log.
#[derive(Clone, Debug)]
pub(crate) struct SealedBatch(WriteBatch);

impl SealedBatch {
    /// The log's payload.
    pub(crate) fn body(&self) -> &[u8] {
        &self.0.body
    }

    pub(crate) fn len(&self) -> usize {
        self.0.spans.len()
    }

    /// The operations as the memtable takes them: keyspace, key, value or tombstone.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (KeyspaceId, &[u8], Option<&[u8]>)> {
        let body = &self.0.body;
        self.0.spans.iter().map(|span| {
            (span.keyspace, &body[span.key.clone()], span.value.as_ref().map(|value| &body[value.clone()]))
        })
    }
}

#[cfg(test)]
mod tests {
    //! Shows that the remembered places are right at every length class, and that the last operation on a key wins.
    use super::*;
    use crate::format::batch_body;

    fn changes(batch: &SealedBatch) -> Vec<(u32, Vec<u8>, Option<Vec<u8>>)> {
        batch.changes().map(|(ks, key, value)| (ks.0, key.to_vec(), value.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn places_agree_with_the_bytes() {
        let mut batch = WriteBatch::new();
        for (index, len) in [0, 1, 250, 251, 65_535, 65_536, 70_000].into_iter().enumerate() {
            let key = vec![b'a' + u8::try_from(index).unwrap(); len.min(MAX_KEY_BYTES)];
            batch.put_in(KeyspaceId(300), &key, vec![7; len]);
            batch.delete_in(KeyspaceId(301), &key);
        }
        let sealed = batch.seal().unwrap();
        let decoded: Vec<_> = batch_body::ops(sealed.body())
            .map(|op| match op.unwrap() {
                Op::Put { keyspace, key, value } => (keyspace.0, key.to_vec(), Some(value.to_vec())),
                Op::Delete { keyspace, key } => (keyspace.0, key.to_vec(), None),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(changes(&sealed), decoded);
        assert_eq!(decoded.len(), 14);
    }

    #[test]
    fn the_last_operation_on_a_key_wins() {
        let mut batch = WriteBatch::new();
        batch.put("a", "1");
        batch.put("b", "2");
        batch.delete("a");
        batch.put_in(KeyspaceId(1), "b", "other keyspace");
        batch.put("b", "3");
        let sealed = batch.seal().unwrap();
        assert_eq!(
            changes(&sealed),
            [
                (0, b"a".to_vec(), None),
                (1, b"b".to_vec(), Some(b"other keyspace".to_vec())),
                (0, b"b".to_vec(), Some(b"3".to_vec())),
            ]
        );
    }

    #[test]
    fn a_key_beyond_the_limit_is_refused() {
        let mut batch = WriteBatch::new();
        batch.put(vec![0; MAX_KEY_BYTES + 1], "");
        assert!(matches!(batch.seal(), Err(Error::TooLarge { what: "key", size: 65_536, limit: 65_535 })));
    }
}
