//! Bodies of variable length: batches, the blocks of a checkpoint, the manifest.

use super::{Value, Walk};
use crate::format::batch_body;
use crate::format::checksum::Checksum;
use crate::format::{StoreId, codec, field};

/// What is left of a body.
#[derive(Clone, Copy)]
pub(super) struct Body {
    pub(super) at: usize,
    pub(super) end: usize,
}

/// The methods take something from the front of a body. Where it cannot be decoded, the rest is one piece that says so, the
/// body is empty, and the answer is `None`, as it is when nobody wants to see more.
impl Walk<'_> {
    /// The payload of a data record of a store; of a log alone whatever it is.
    pub(super) fn payload(&mut self, mut body: Body) {
        let bytes = &self.bytes[body.at..body.end];
        if batch_body::ops(bytes).any(|op| op.is_err()) {
            let _ = self.piece(body.at, bytes.len(), "payload", Value::Bytes, None);
            return;
        }
        while body.at < body.end && self.op(&mut body).is_some() {}
    }

    fn op(&mut self, body: &mut Body) -> Option<()> {
        let op = self.one_of(body, "op", &["put", "delete", "create keyspace", "drop keyspace"])?;
        self.number(body, "keyspace")?;
        match op {
            0 => {
                self.string(body, "key length", "key")?;
                self.string(body, "value length", "value")
            }
            1 => self.string(body, "key length", "key"),
            2 => self.string(body, "name length", "name"),
            _ => Some(()),
        }
    }

    /// The entries of a block of this kind.
    pub(super) fn entries(&mut self, mut body: Body) {
        while body.at < body.end && self.entry(&mut body).is_some() {}
    }

    fn entry(&mut self, body: &mut Body) -> Option<()> {
        self.number(body, "lsn")?;
        self.string(body, "key length", "key")?;
        self.string(body, "value length", "value")
    }

    /// The keyspaces of a block of that kind.
    pub(super) fn keyspaces(&mut self, mut body: Body) {
        while body.at < body.end && self.keyspace(&mut body).is_some() {}
    }

    fn keyspace(&mut self, body: &mut Body) -> Option<()> {
        self.number(body, "number")?;
        self.number(body, "created")?;
        self.string(body, "name length", "name")
    }

    pub(super) fn manifest_body(&mut self, mut body: Body) {
        let _ = self.manifest_fields(&mut body);
        let left = body.end.saturating_sub(body.at);
        let _ = self.piece(body.at, left, "bytes", Value::Bytes, Some("too many".to_owned()));
    }

    fn manifest_fields(&mut self, body: &mut Body) -> Option<()> {
        self.store_id(body, "store_id")?;
        if self.is_there(body, "parent")? {
            self.store_id(body, "parent store_id")?;
            self.number(body, "parent LSN")?;
        }
        self.number(body, "generation")?;
        self.number(body, "first_segment")?;
        self.number(body, "durable_lsn")?;
        for _ in 0..self.number(body, "checkpoints")? {
            self.number(body, "checkpoint LSN")?;
            self.number(body, "checkpoint generation")?;
            self.time(body, "checkpoint time")?;
            for _ in 0..self.number(body, "parts")? {
                self.number(body, "part bytes")?;
                self.number(body, "part entries")?;
                self.hex(body, "part digest")?;
            }
        }
        self.number(body, "segment_bytes")?;
        self.algorithm(body)?;
        if self.is_there(body, "checkpoint_after_bytes")? {
            self.number(body, "checkpoint_after_bytes")?;
        }
        self.number(body, "keep_checkpoints")?;
        self.string(body, "retention length", "retention")?;
        if self.is_there(body, "archive")? {
            self.string(body, "archive length", "archive")?;
        }
        if body.at < body.end {
            self.number(body, "archived")?;
        }
        Some(())
    }

    fn number(&mut self, body: &mut Body, name: &'static str) -> Option<u64> {
        self.varint(body, name, Value::Number)
    }

    fn hex(&mut self, body: &mut Body, name: &'static str) -> Option<u64> {
        self.varint(body, name, |number| Value::Hex(number, 16))
    }

    fn time(&mut self, body: &mut Body, name: &'static str) -> Option<u64> {
        self.varint(body, name, Value::Time)
    }

    /// A number that stands for one of these.
    fn one_of(&mut self, body: &mut Body, name: &'static str, known: &[&str]) -> Option<u64> {
        self.varint(body, name, |number| {
            let meaning = usize::try_from(number).ok().and_then(|number| known.get(number));
            Value::Text(format!("{number}, {}", meaning.unwrap_or(&"unknown")))
        })
    }

    fn varint(&mut self, body: &mut Body, name: &'static str, value: impl Fn(u64) -> Value) -> Option<u64> {
        match codec::borrow_one::<u64>(self.bytes.get(body.at..body.end)?) {
            Some((number, len)) => {
                self.take(body, len, name, value(number))?;
                Some(number)
            }
            None => self.undecodable(body, name),
        }
    }

    /// A length, and so many bytes.
    fn string(&mut self, body: &mut Body, length: &'static str, name: &'static str) -> Option<()> {
        let len = self.number(body, length)?;
        match usize::try_from(len).ok().filter(|len| *len <= body.end - body.at) {
            Some(len) => self.take(body, len, name, Value::Bytes),
            None => self.undecodable(body, name),
        }
    }

    fn store_id(&mut self, body: &mut Body, name: &'static str) -> Option<()> {
        let Some(id) = self.bytes.get(body.at..body.end)?.get(..16) else {
            return self.undecodable(body, name);
        };
        let id = StoreId(field(id, 0)).to_string();
        self.take(body, 16, name, Value::Text(id))
    }

    /// The byte before something that may be there or not.
    fn is_there(&mut self, body: &mut Body, name: &'static str) -> Option<bool> {
        let byte = *self.bytes.get(body.at..body.end)?.first().unwrap_or(&2);
        let meaning = match byte {
            0 => "0, none",
            1 => "1, some",
            _ => return self.undecodable(body, name),
        };
        self.take(body, 1, name, Value::Text(meaning.to_owned()))?;
        Some(byte == 1)
    }

    fn algorithm(&mut self, body: &mut Body) -> Option<()> {
        let Some(algorithm) = self.bytes.get(body.at..body.end)?.first() else {
            return self.undecodable(body, "checksum");
        };
        let (value, _) = super::named(*algorithm, Checksum::from_tag(*algorithm).map(Checksum::name));
        self.take(body, 1, "checksum", value)
    }

    fn take(&mut self, body: &mut Body, len: usize, name: &'static str, value: Value) -> Option<()> {
        let at = body.at;
        body.at += len;
        self.piece(at, len, name, value, None)
    }

    fn undecodable<T>(&mut self, body: &mut Body, name: &'static str) -> Option<T> {
        let (at, len) = (body.at, body.end - body.at);
        body.at = body.end;
        let _ = self.piece(at, len, name, Value::Bytes, Some("cannot be decoded".to_owned()));
        None
    }
}
