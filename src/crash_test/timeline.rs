//! What may be found: the state after each LSN, and which LSNs are allowed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

/// All that a log or a store holds. A log is a map from LSN to record; a store, from keyspace and key to value.
pub(super) type State = BTreeMap<Arc<[u8]>, Arc<[u8]>>;

/// What one record does to the state: a new value, or none.
pub(super) type Changes = Vec<(Arc<[u8]>, Option<Arc<[u8]>>)>;

/// The state after each LSN. A clone shares the states.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// By LSN; the first is the empty state, at LSN 0.
    states: Vec<Arc<State>>,
    /// By LSN, a hash of the state: the sum of its entries' hashes, so that a change costs only what it changes.
    hashes: Vec<u64>,
}

impl Timeline {
    /// Nothing has happened.
    pub(super) fn new() -> Timeline {
        Timeline { states: vec![Arc::default()], hashes: vec![0] }
    }

    pub(super) fn last_lsn(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// The same up to `lsn`.
    pub(super) fn up_to(&self, lsn: u64) -> Timeline {
        let count = usize::try_from(lsn).unwrap_or(usize::MAX).saturating_add(1);
        Timeline {
            states: self.states.iter().take(count).cloned().collect(),
            hashes: self.hashes.iter().take(count).copied().collect(),
        }
    }

    /// One record more.
    pub(super) fn push(&mut self, changes: &Changes) {
        let mut state = self.states.last().map(|last| State::clone(last)).unwrap_or_default();
        let mut sum = self.hash();
        for (key, value) in changes {
            let before = match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
            sum = sum.wrapping_sub(before.map_or(0, |before| hash(key, &before)));
            sum = sum.wrapping_add(value.as_ref().map_or(0, |value| hash(key, value)));
        }
        self.states.push(Arc::new(state));
        self.hashes.push(sum);
    }

    /// A hash of the last state.
    pub(super) fn hash(&self) -> u64 {
        self.hashes.last().copied().unwrap_or_default()
    }

    /// True if the state at this LSN has this hash.
    pub(super) fn has(&self, lsn: u64, hash: u64) -> bool {
        usize::try_from(lsn).is_ok_and(|index| self.hashes.get(index) == Some(&hash))
    }

    fn at(&self, lsn: u64) -> Option<&State> {
        usize::try_from(lsn).ok().and_then(|index| self.states.get(index)).map(|state| &**state)
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}

/// What was found after opening.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lsn: u64,
    /// The key from which on the state is held; empty unless the beginning of a log was removed.
    pub(super) from: Vec<u8>,
    /// The LSN of the oldest record; 0 where that is not told.
    pub(super) oldest: u64,
    /// The LSN of the checkpoint that opening began with; 0 without one.
    pub(super) checkpoint: u64,
    pub(super) state: State,
    /// The copies that are there, by the LSN whose state they are to have.
    pub(super) copies: Vec<(u64, State)>,
    pub(super) torn: bool,
    pub(super) rewritten: bool,
    pub(super) lost_copy: bool,
}

/// What was found in an image, as far as it is remembered.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) lsn: u64,
    /// Of the state.
    pub(super) hash: u64,
    pub(super) checkpoint: u64,
    /// The LSNs of the copies.
    pub(super) copies: Vec<u64>,
}

/// What may be found at a crash point.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    /// Any state of this, from the LSN known to be durable up to the last.
    pub(super) timeline: Timeline,
    /// Or exactly the last state of this, because a cut was under way.
    pub(super) cut: Option<Timeline>,
    /// The oldest record lies between these two.
    pub(super) oldest: (u64, u64),
    /// The LSN of the checkpoint that opening begins with lies between these two: the last complete one, and the one
    /// under way.
    pub(super) checkpoint: (u64, u64),
    /// The LSNs of the copies that were complete.
    pub(super) copies: Vec<u64>,
}

impl Expect {
    /// Nothing has happened.
    pub(super) fn nothing() -> Expect {
        let (timeline, copies) = (Timeline::new(), Vec::new());
        Expect { timeline, cut: None, oldest: (0, 1), checkpoint: (0, 0), copies }
    }

    /// What an opening has shown, or what was written behind it.
    pub(super) fn shown(timeline: Timeline, seen: &Seen) -> Expect {
        let (oldest, checkpoint) = ((seen.oldest, seen.oldest), (seen.checkpoint, seen.checkpoint));
        let copies = seen.copies.iter().map(|(lsn, _)| *lsn).collect();
        Expect { timeline, cut: None, oldest, checkpoint, copies }
    }

    /// The timeline that ends with what was seen.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn judge(&self, durable: u64, seen: &Seen) -> Result<Timeline, String> {
        let Seen { lsn, oldest, .. } = *seen;
        let (from, to) = self.oldest;
        if oldest < from || oldest > to {
            return Err(format!("the oldest record is {oldest}; it must lie between {from} and {to}"));
        }
        self.judge_checkpoint(seen.checkpoint)?;
        self.judge_copies(seen.copies.iter().map(|(lsn, _)| *lsn))?;
        for (lsn, state) in &seen.copies {
            if self.timeline.at(*lsn) != Some(state) {
                return Err(format!("the copy at LSN {lsn} has another state"));
            }
        }
        if let Some(cut) = &self.cut
            && lsn == cut.last_lsn()
            && difference(cut, seen).is_none()
        {
            return Ok(cut.clone());
        }
        let last = self.timeline.last_lsn();
        if lsn < durable {
            return Err(format!("LSN {durable} was durable, and the log ends at {lsn}"));
        }
        if lsn > last {
            return Err(format!("the log ends at LSN {lsn}, and only {last} were ever given out"));
        }
        match difference(&self.timeline, seen) {
            None => Ok(self.timeline.up_to(lsn)),
            Some(what) => Err(format!("the state is not that after LSN {lsn}: {what}")),
        }
    }
}

impl Expect {
    fn judge_copies(&self, found: impl Iterator<Item = u64> + Clone) -> Result<(), String> {
        let gone = self.copies.iter().find(|copy| !found.clone().any(|found| found == **copy));
        gone.map_or(Ok(()), |gone| Err(format!("the copy at LSN {gone} was complete and is gone")))
    }

    fn judge_checkpoint(&self, found: u64) -> Result<(), String> {
        let (from, to) = self.checkpoint;
        if (from..=to).contains(&found) {
            return Ok(());
        }
        Err(format!("opening began with the checkpoint at LSN {found}; it must lie between {from} and {to}"))
    }

    /// As [`Expect::judge`], for an image that was judged before: by the LSN, the checkpoint and the hash of the state
    /// found then.
    ///
    /// Equal images may stand at different crash points. What was legal at the first may be a loss at the second.
    pub(super) fn judge_again(&self, durable: u64, known: &Verdict) -> Result<(), String> {
        let Verdict { lsn, hash, checkpoint, .. } = *known;
        self.judge_copies(known.copies.iter().copied())?;
        self.judge_checkpoint(checkpoint)?;
        let cut = self.cut.as_ref().is_some_and(|cut| cut.last_lsn() == lsn && cut.has(lsn, hash));
        if cut || (lsn >= durable && self.timeline.has(lsn, hash)) {
            return Ok(());
        }
        Err(format!(
            "LSN {durable} was durable, and what is found is an earlier or another state at LSN {lsn}"
        ))
    }
}

/// Where what was seen differs from the state at its LSN.
fn difference(timeline: &Timeline, seen: &Seen) -> Option<String> {
    let Some(expected) = timeline.at(seen.lsn) else { return Some("there is none".to_owned()) };
    let expected = expected.range::<[u8], _>((Bound::Included(&seen.from[..]), Bound::Unbounded));
    if expected.clone().eq(seen.state.iter()) {
        return None;
    }
    let mut expected = expected;
    let mut found = seen.state.iter();
    loop {
        let pair = (expected.next(), found.next());
        if pair.0 != pair.1 {
            return Some(format!("expected {}, found {}", show(pair.0), show(pair.1)));
        }
    }
}

fn show<T: AsRef<[u8]>>(entry: Option<(&T, &T)>) -> String {
    let Some((key, value)) = entry else { return "the end".to_owned() };
    let (key, value) = (key.as_ref(), value.as_ref());
    let beginning = &value[..value.len().min(24)];
    format!("{}: {} ({} bytes)", key.escape_ascii(), beginning.escape_ascii(), value.len())
}
