//! The files: where each structure ends and the next one begins.

use super::bodies::Body;
use super::{Value, Walk};
use crate::format::checkpoint::{
    BLOCK_HEADER_BYTES, BlockHeader, BlockKind, PART_HEADER_BYTES, PartFooter, PartHeader,
};
use crate::format::layout::{
    BLOCK_HEADER, FOOTER, HEADER_BLOCK, MANIFEST_HEADER, PART_HEADER, RECORD_HEADER, SEAL,
};
use crate::format::manifest::MANIFEST_HEADER_BYTES;
use crate::format::record::{RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use crate::format::seal::{SEAL_BYTES, Seal};
use crate::format::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::{StoreId, get_u32};
use crate::lsn::Lsn;

#[allow(clippy::cast_possible_truncation)] // a constant: 8
const STEP: usize = RECORD_ALIGNMENT as usize;

impl Walk<'_> {
    pub(super) fn segment(&mut self) -> Option<()> {
        "header block".clone_into(&mut self.of);
        self.fixed(HEADER_BLOCK, 0, |_| None)?;
        let Ok(header) = SegmentHeader::decode(self.bytes) else {
            return self.rest(SEGMENT_HEADER_BYTES, "nothing can be told of it without a sound header block");
        };
        self.salt = header.salt;
        // Behind the last byte that is not zero there is room, and nothing else.
        let used = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let (mut at, mut expected) = (SEGMENT_HEADER_BYTES, header.base);
        while at < used {
            let here = &self.bytes[at..];
            if let Some(record) = RecordHeader::decode(here, self.salt, at as u64) {
                at = self.record(at, &record, expected, &header)?;
                expected = record.lsn.next();
            } else if Seal::decode(here, self.salt, at as u64).is_some() {
                "seal".clone_into(&mut self.of);
                self.fixed(SEAL, at, |_| None)?;
                at += SEAL_BYTES;
            } else {
                let end = self.next_structure(at, used);
                let here = &self.bytes[at..end];
                let (value, flaw) = match here.iter().all(|byte| *byte == 0) {
                    true => (Value::Zeros, None),
                    false => {
                        (Value::Bytes, Some("no record: unfinished, damaged, or left by a cut".to_owned()))
                    }
                };
                format!("in place of record {expected}").clone_into(&mut self.of);
                self.piece(at, end - at, "bytes", value, flaw)?;
                at = end;
            }
        }
        "room".clone_into(&mut self.of);
        self.piece(at, self.bytes.len().saturating_sub(at), "zeros", Value::Zeros, None)
    }

    /// A record; answers where it ends.
    fn record(
        &mut self,
        at: usize,
        record: &RecordHeader,
        expected: Lsn,
        header: &SegmentHeader,
    ) -> Option<usize> {
        self.of = format!("record {}", record.lsn);
        let begin = at + RECORD_HEADER_BYTES;
        let len = usize::try_from(record.payload_len).unwrap_or(usize::MAX);
        let payload = self.bytes.get(begin..begin.saturating_add(len));
        let right = payload.map(|payload| header.checksum.of(payload));
        self.fixed(RECORD_HEADER, at, |name| match name {
            "payload_len" if right.is_none() => Some("more than the file has".to_owned()),
            "lsn" if record.lsn != expected => Some(format!("{expected} is expected here")),
            "payload_checksum" => {
                let right = right.filter(|right| *right != record.payload_checksum)?;
                Some(format!("that of the payload is {right:016x}"))
            }
            _ => None,
        })?;
        let Some(payload) = payload else {
            // The length is not to be believed.
            return Some(begin);
        };
        let body = Body { at: begin, end: begin + payload.len() };
        match record.kind {
            RecordKind::Data if right == Some(record.payload_checksum) => self.payload(body),
            _ => self.piece(body.at, len, "payload", Value::Bytes, None)?,
        }
        let end = body.end.next_multiple_of(STEP).min(self.bytes.len());
        let padding = &self.bytes[body.end..end];
        let value = if padding.iter().all(|byte| *byte == 0) { Value::Zeros } else { Value::Bytes };
        self.piece(body.end, padding.len(), "padding", value, None)?;
        Some(end)
    }

    /// Where the next record or seal begins behind `at`; `end` if there is none.
    fn next_structure(&self, at: usize, end: usize) -> usize {
        let is_one = |at: &usize| {
            let (here, place) = (&self.bytes[*at..], *at as u64);
            RecordHeader::decode(here, self.salt, place).is_some()
                || Seal::decode(here, self.salt, place).is_some()
        };
        (at + STEP..end).step_by(STEP).find(is_one).unwrap_or(end)
    }

    pub(super) fn part(&mut self) -> Option<()> {
        "part header".clone_into(&mut self.of);
        self.fixed(PART_HEADER, 0, |_| None)?;
        let Ok(header) = PartHeader::decode(self.bytes) else {
            return self.rest(PART_HEADER_BYTES, "nothing can be told of it without a sound header");
        };
        self.salt = header.salt;
        let mut at = PART_HEADER_BYTES;
        for number in 0.. {
            let Some(block) =
                self.bytes.get(at..).and_then(|here| BlockHeader::decode(here, self.salt, at as u64))
            else {
                break;
            };
            self.of = format!("block {number}");
            let begin = at + BLOCK_HEADER_BYTES;
            let len = usize::try_from(block.body_bytes).unwrap_or(usize::MAX);
            let body = self.bytes.get(begin..begin.saturating_add(len));
            let right = body.map(|body| header.checksum.of(body));
            self.fixed(BLOCK_HEADER, at, |name| match name {
                "body_bytes" if right.is_none() => Some("more than the file has".to_owned()),
                "body_checksum" => {
                    let right = right.filter(|right| *right != block.body_checksum)?;
                    Some(format!("that of the body is {right:016x}"))
                }
                _ => None,
            })?;
            let Some(body) = body.map(|body| Body { at: begin, end: begin + body.len() }) else {
                return self.rest(begin, "the file ends within the block");
            };
            match block.kind {
                _ if right != Some(block.body_checksum) => {
                    self.piece(body.at, len, "body", Value::Bytes, None)?;
                }
                BlockKind::Entries => self.entries(body),
                BlockKind::Keyspaces => self.keyspaces(body),
            }
            at = body.end;
        }
        let is_footer =
            self.bytes.get(at..).is_some_and(|here| PartFooter::decode(here, self.salt, at as u64).is_some());
        if !is_footer {
            "behind the blocks".clone_into(&mut self.of);
            return self.rest(at, "neither a block nor the footer");
        }
        "footer".clone_into(&mut self.of);
        self.fixed(FOOTER, at, |_| None)?;
        self.rest(at + FOOTER.iter().map(|field| field.bytes).sum::<usize>(), "behind the footer")
    }

    pub(super) fn manifest(&mut self) -> Option<()> {
        "manifest header".clone_into(&mut self.of);
        let body = self.bytes.get(MANIFEST_HEADER_BYTES..).unwrap_or_default();
        let right = crc32fast::hash(body);
        let is_sound = self.bytes.get(16..20).is_some_and(|crc| get_u32(crc, 0) == right);
        let len = self.bytes.get(12..16).map(|len| get_u32(len, 0) as usize);
        self.fixed(MANIFEST_HEADER, 0, |name| match name {
            "body_len" if len != Some(body.len()) => Some(format!("the body has {}", body.len())),
            "body_crc" if !is_sound => Some(format!("that of the body is {right:08x}")),
            _ => None,
        })?;
        "manifest".clone_into(&mut self.of);
        match is_sound {
            true => self.manifest_body(Body { at: MANIFEST_HEADER_BYTES, end: self.bytes.len() }),
            false => self.piece(MANIFEST_HEADER_BYTES, body.len(), "body", Value::Bytes, None)?,
        }
        (!self.stopped).then_some(())
    }

    /// `STORE`, which says whose an archive is.
    pub(super) fn owner(&mut self) -> Option<()> {
        "owner".clone_into(&mut self.of);
        let text = String::from_utf8_lossy(self.bytes).into_owned();
        let is_id = StoreId::try_from(text.clone()).is_ok();
        let flaw = (!is_id).then(|| "no id of a store".to_owned());
        self.piece(0, self.bytes.len(), "store_id", Value::Text(text), flaw)
    }
}
