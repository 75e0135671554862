//! A log alone, put through crashes.

use std::path::Path;
use std::sync::Arc;

use super::draw::Draw;
use super::report::CrashPath;
use super::script::{Flavor, Step};
use super::subject::{Effect, Subject, Watch};
use super::timeline::{Changes, Seen, State};
use crate::format::record::RecordKind;
use crate::storage::{SimDisk, Storage};
use crate::wal::{LogReader, LogStatus, Record, Wal};
use crate::{Durability, Lsn, Result, WalOptions};

/// Two levels, so that the directory's own ancestors are at stake too.
const DIR: &str = "some/log";

/// The smallest segments, so that little is needed to fill one.
const SEGMENT_BYTES: u64 = 8192;

/// What can be done to a log.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Append {
        payloads: Vec<Vec<u8>>,
        durability: Durability,
    },
    Sync,
    Mark,
    Rotate,
    /// Makes the next segment's file ahead.
    PrepareSpare,
    /// Cuts off so many records.
    CutAfter {
        records: u64,
    },
    /// Removes what lies so many records behind the end.
    RemoveBefore {
        records: u64,
    },
}

/// The log alone.
pub(super) struct WalSubject;

impl Subject for WalSubject {
    type Handle = Wal;
    type Action = Action;

    fn name(&self) -> &'static str {
        "log"
    }

    fn flavors(&self) -> &'static [Flavor] {
        &[
            Flavor::Kill,
            Flavor::KillCut,
            Flavor::FailedSync,
            Flavor::Append,
            Flavor::Rotation,
            Flavor::Creation,
            Flavor::Close,
            Flavor::Cut,
        ]
    }

    fn script(&self, flavor: Flavor, draw: &mut Draw) -> Vec<Step<Action>> {
        let mut steps = vec![Step::Open];
        match flavor {
            Flavor::Append => {
                writes(&mut steps, draw, 10, 300);
                steps.extend([Step::Close, Step::Open]);
                writes(&mut steps, draw, 6, 700);
            }
            Flavor::Rotation => writes(&mut steps, draw, 12, 3900),
            Flavor::Creation => writes(&mut steps, draw, 1, 40),
            Flavor::Close => {
                for _ in 0..5 {
                    writes(&mut steps, draw, 2, 200);
                    steps.extend([Step::Close, Step::Open]);
                }
            }
            Flavor::Cut | Flavor::KillCut => {
                for _ in 0..3 {
                    writes(&mut steps, draw, 4, 2500);
                    steps.push(Step::Act(Action::CutAfter { records: draw.below(6) }));
                    writes(&mut steps, draw, 1, 300);
                    steps.push(Step::Act(Action::RemoveBefore { records: draw.below(6) }));
                }
            }
            Flavor::Kill
            | Flavor::FailedSync
            | Flavor::Checkpoint
            | Flavor::Retention
            | Flavor::Archive
            | Flavor::Copy => {
                writes(&mut steps, draw, 4, 1500);
                steps.extend([Step::Close, Step::Open]);
                writes(&mut steps, draw, 4, 1500);
            }
        }
        steps.push(Step::Close);
        if flavor == Flavor::FailedSync {
            // Nobody hears of a sync that fails while a spare is made, and nothing depends on it.
            steps.retain(|step| !matches!(step, Step::Act(Action::PrepareSpare)));
        }
        steps
    }

    fn follow_up(&self, draw: &mut Draw) -> Vec<Action> {
        vec![Action::Append { payloads: vec![draw.payload(8, 60)], durability: Durability::Sync }]
    }

    fn open(&self, disk: &SimDisk, watch: &Arc<Watch>) -> Result<Wal> {
        WalOptions::new()
            .storage(Arc::new(disk.clone()))
            .segment_bytes(SEGMENT_BYTES)
            .idle_mark(None)
            .spare_ahead(false)
            .recovery_threads(1 + disk.files().len() % 3)
            .listener(watch.clone())
            .open(DIR)
    }

    fn look(&self, _: &SimDisk, wal: &Wal) -> Result<Seen, String> {
        let (last, durable, oldest) = self.lsns(wal);
        if durable != last {
            return Err(format!("opened at LSN {last}, of which only {durable} are durable"));
        }
        let records = wal.read_from(wal.oldest_lsn()).map_err(|error| error.to_string())?;
        let state = state_of(records, oldest)?;
        if state.len() as u64 != last + 1 - oldest {
            return Err(format!("{} records from LSN {oldest} to {last}", state.len()));
        }
        let report = wal.report();
        let torn = report.torn.as_ref();
        Ok(Seen {
            lsn: last,
            from: key(oldest).to_vec(),
            oldest,
            checkpoint: 0,
            state,
            copies: Vec::new(),
            torn: torn.is_some(),
            rewritten: report.rewritten > 0,
            lost_copy: torn.is_some_and(|torn| torn.kept_in.is_some()),
        })
    }

    fn peek(&self, disk: &SimDisk) -> Result<Option<Seen>, String> {
        let reader = match LogReader::open_on(Arc::new(disk.clone()), DIR) {
            Ok(reader) => reader,
            Err(crate::Error::NoStore { .. }) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let names = disk.list(Path::new(DIR)).map_err(|error| error.to_string())?;
        let first = names.iter().find_map(|name| name.strip_suffix(".wal")?.parse().ok());
        let oldest: u64 = first.unwrap_or_default();
        let state = state_of(reader, oldest)?;
        let lsn = oldest + state.len() as u64 - 1;
        let from = key(oldest).to_vec();
        let (checkpoint, torn, rewritten, lost_copy) = (0, false, false, false);
        Ok(Some(Seen {
            lsn,
            from,
            oldest,
            checkpoint,
            state,
            copies: Vec::new(),
            torn,
            rewritten,
            lost_copy,
        }))
    }

    fn verify(&self, _: &SimDisk, wal: &Wal) -> Result<(), String> {
        let found = wal.verify().map_err(|error| error.to_string())?;
        if found.status == LogStatus::Live { Ok(()) } else { Err(format!("verification finds {found:?}")) }
    }

    fn rot(&self, _: &SimDisk, _: &Seen, _: &mut Draw) -> Result<bool, String> {
        Ok(false)
    }

    fn effect(&self, wal: &Wal, action: &Action) -> Effect {
        let (last, _, oldest) = self.lsns(wal);
        match action {
            Action::Append { payloads, .. } => Effect::Grow(
                (last + 1..)
                    .zip(payloads)
                    .map(|(lsn, payload)| record(lsn, RecordKind::Data, payload))
                    .collect(),
            ),
            Action::Mark => Effect::MayGrow(record(last + 1, RecordKind::SyncMark, &[])),
            Action::CutAfter { records } => Effect::Cut(cut_at(last, oldest, *records)),
            Action::RemoveBefore { records } => Effect::RemoveBefore(last.saturating_sub(*records)),
            Action::Sync | Action::Rotate | Action::PrepareSpare => Effect::Nothing,
        }
    }

    fn act(&self, _: &SimDisk, wal: &Wal, action: &Action) -> Result<()> {
        let (last, _, oldest) = self.lsns(wal);
        match action {
            Action::Append { payloads, durability } => {
                let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                wal.append_with(&payloads, *durability).map(|_| ())
            }
            Action::Sync => wal.sync().map(|_| ()),
            Action::Mark => wal.mark().map(|_| ()),
            Action::Rotate => wal.rotate(),
            // As the background thread does it: a failure is not the log's.
            Action::PrepareSpare => wal.prepare_spare().or(Ok(())),
            Action::CutAfter { records } => wal.cut_after(Lsn::new(cut_at(last, oldest, *records))),
            Action::RemoveBefore { records } => {
                wal.remove_before(Lsn::new(last.saturating_sub(*records))).map(|_| ())
            }
        }
    }

    fn path(&self, action: &Action) -> CrashPath {
        match action {
            Action::Append { .. } | Action::Sync | Action::Mark => CrashPath::Append,
            Action::Rotate | Action::PrepareSpare => CrashPath::Rotation,
            Action::CutAfter { .. } => CrashPath::CutAfter,
            Action::RemoveBefore { .. } => CrashPath::RemoveBefore,
        }
    }

    fn close_mark(&self, wal: &Wal) -> Changes {
        record(wal.last_lsn().next().get(), RecordKind::CloseMark, &[])
    }

    fn close(&self, wal: &Wal) -> Result<()> {
        wal.close()
    }

    fn lsns(&self, wal: &Wal) -> (u64, u64, u64) {
        (wal.last_lsn().get(), wal.durable_lsn().get(), wal.oldest_lsn().get())
    }
}

/// Some writes: synced ones, buffered ones, groups, marks, and now and then a new segment.
fn writes(steps: &mut Vec<Step<Action>>, draw: &mut Draw, count: u64, longest: u64) {
    for _ in 0..count {
        let in_group = if draw.one_in(3) { 2 + draw.below(3) } else { 1 };
        let payloads = (0..in_group).map(|_| draw.payload(0, longest)).collect();
        let durability = if draw.one_in(2) { Durability::Buffered } else { Durability::Sync };
        steps.push(Step::Act(Action::Append { payloads, durability }));
        if draw.one_in(4) {
            steps.push(Step::Act(Action::PrepareSpare));
        }
        match draw.below(12) {
            0 | 1 => steps.push(Step::Act(Action::Mark)),
            2 => steps.push(Step::Act(Action::Sync)),
            3 => steps.push(Step::Act(Action::Rotate)),
            _ => {}
        }
    }
}

/// The LSN to cut at, so that so many records go but none that are gone at the other end.
fn cut_at(last: u64, oldest: u64, records: u64) -> u64 {
    last.saturating_sub(records).max(oldest.saturating_sub(1))
}

fn record(lsn: u64, kind: RecordKind, payload: &[u8]) -> Changes {
    vec![(key(lsn), Some(value(kind, payload)))]
}

fn key(lsn: u64) -> Arc<[u8]> {
    // As text, so that a violation can be read; with all digits, so that it sorts.
    format!("LSN {lsn:08}").as_bytes().into()
}

fn value(kind: RecordKind, payload: &[u8]) -> Arc<[u8]> {
    [kind.name().as_bytes(), b" ", payload].concat().into()
}

/// The records as a state, if their LSNs are dense.
fn state_of(records: impl Iterator<Item = Result<Record>>, oldest: u64) -> Result<State, String> {
    let mut state = State::new();
    for (record, lsn) in records.zip(oldest..) {
        let record = record.map_err(|error| format!("LSN {lsn} cannot be read: {error}"))?;
        if record.lsn.get() != lsn {
            return Err(format!("LSN {} stands where {lsn} belongs", record.lsn));
        }
        state.insert(key(lsn), value(record.kind, &record.payload));
    }
    Ok(state)
}
