//! The end of the log: where the next record goes, and how it gets there.
//!
//! A tail is guarded by a lock of the log and knows neither syncs nor rotation. What a crash leaves behind while it
//! writes is a torn tail: nothing that was durable stands where it writes.

use super::open::Ready;
use super::segment_reader::{Position, Segment};
use crate::error::Result;
use crate::format::record::{RECORD_ALIGNMENT, RecordHeader, RecordKind, stored_bytes};
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;

/// What is to be written: records of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'a> {
    pub(super) kind: RecordKind,
    pub(super) payloads: &'a [&'a [u8]],
    /// Whoever writes them will ask for a sync at once, so the disk may begin.
    pub(super) sync_follows: bool,
}

impl Records<'_> {
    /// A single record that says something about the log itself.
    pub(super) fn mark(kind: RecordKind) -> Records<'static> {
        Records { kind, payloads: &[&[]], sync_follows: false }
    }
}

/// The end of the log.
#[derive(Debug)]
pub(super) struct Tail {
    /// The segment that is written.
    pub(super) segment: Segment,
    /// Behind its last record.
    pub(super) position: Position,
    /// The time of the last record: the log's time never runs backwards.
    pub(super) time_us: u64,
    /// What the last record is.
    pub(super) last_kind: Option<RecordKind>,
    /// True if no mark proves that the last data record was durable.
    pub(super) wants_mark: bool,
    pub(super) appended_since_open: bool,
    pub(super) closed: bool,
    /// The disk was told to expect writes up to here.
    expected_to: u64,
    /// Encoded records of the group that is being written. Kept to spare allocations.
    buffer: Vec<u8>,
}

/// A group's buffer is kept up to this size, in bytes.
const MAX_KEPT_BUFFER: usize = 1 << 20;

/// From this size on the disk is told to begin with a group's bytes before the sync that they need, so that it works
/// while they are applied. In bytes. A single put is applied in less time than telling the disk takes.
const WORTH_AN_EARLY_START: u64 = 4096;

/// How much is asked for at a time of what will be written, by a group that is told early, and by a smaller one. In bytes.
/// The longer, the more seldom a sync must save where blocks are; and the longer the sync that does: which counts for
/// small groups, of which one in some hundreds is such a one. A group that is not small beside a stretch brings its own
/// blocks. Measured: `docs/decisions/0008-blocks-before-records.md`.
const STRETCH: u64 = 256 << 10;
const SHORT_STRETCH: u64 = 64 << 10;

#[allow(clippy::cast_possible_truncation)] // a constant: 8
const ALIGNMENT: usize = RECORD_ALIGNMENT as usize;

impl Tail {
    /// The end that opening has made ready.
    pub(super) fn new(ready: Ready) -> Tail {
        Tail {
            segment: ready.segment,
            position: ready.position,
            time_us: ready.time_us,
            last_kind: ready.last_kind,
            wants_mark: ready.last_kind == Some(RecordKind::Data),
            appended_since_open: false,
            closed: false,
            expected_to: 0,
            buffer: Vec::new(),
        }
    }

    /// How many of these payloads fit into the segment, in their order.
    pub(super) fn fitting(&self, payloads: &[&[u8]]) -> usize {
        let mut end = self.position.offset;
        let fits = |payload: &&&[u8]| {
            end += stored_bytes(payload.len() as u64);
            end <= self.segment.header.records_end()
        };
        payloads.iter().take_while(fits).count()
    }

    /// Writes records that fit into the segment, with one `write_at`; not synced. After an error the position is
    /// wrong: the log is poisoned and never comes back here.
    pub(super) fn write(&mut self, durable_lsn: Lsn, records: Records<'_>) -> Result<()> {
        let Records { kind, payloads, sync_follows } = records;
        let first = self.position;
        for payload in payloads {
            self.encode(kind, durable_lsn, payload);
        }
        self.segment.file.write_at(&self.buffer, first.offset)?;
        if sync_follows {
            let written = self.buffer.len() as u64;
            self.expect_more(written);
            if written >= WORTH_AN_EARLY_START {
                self.segment.file.start_write_out(first.offset, written);
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(MAX_KEPT_BUFFER);
        self.appended_since_open = true;
        self.last_kind = Some(kind);
        // A mark proves only what it carries: a record may have come between its sync and the mark itself.
        self.wants_mark = kind == RecordKind::Data || (self.wants_mark && durable_lsn < first.lsn.previous());
        Ok(())
    }

    /// Has the disk give out blocks for the next stretch when a group of so many bytes has come to the end of the last.
    fn expect_more(&mut self, group_bytes: u64) {
        let end = self.position.offset;
        if end > self.expected_to && group_bytes <= STRETCH / 8 {
            // What follows the position reads as zeros: a segment is begun so, and one with anything else is not gone on in.
            let stretch = if group_bytes < WORTH_AN_EARLY_START { SHORT_STRETCH } else { STRETCH };
            self.expected_to = (end + stretch).min(self.segment.header.records_end());
            self.segment.file.expect_writes(end, self.expected_to.saturating_sub(end));
        }
    }

    /// Adds a record to the group's buffer and moves the position behind it.
    fn encode(&mut self, kind: RecordKind, durable_lsn: Lsn, payload: &[u8]) {
        let SegmentHeader { salt, checksum, .. } = self.segment.header;
        let header = RecordHeader {
            payload_len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            lsn: self.position.lsn,
            durable_lsn,
            time_us: self.time_us,
            payload_checksum: checksum.of(payload),
            kind,
        };
        self.buffer.extend_from_slice(&header.encode(salt, self.position.offset));
        self.buffer.extend_from_slice(payload);
        self.buffer.resize(self.buffer.len().next_multiple_of(ALIGNMENT), 0);
        self.position = Position {
            offset: self.position.offset + header.stored_bytes(),
            lsn: header.lsn.next(),
            digest: self.position.digest.and(header.lsn, kind.tag(), header.payload_checksum),
        };
    }

    /// True when the next segment will be wanted before long.
    pub(super) fn is_half_full(&self) -> bool {
        let start = Position::start(&self.segment.header).offset;
        self.position.offset - start > (self.segment.header.records_end() - start) / 2
    }

    pub(super) fn go_on_in(&mut self, segment: Segment, position: Position) {
        self.segment = segment;
        self.position = position;
        self.expected_to = 0;
    }
}
