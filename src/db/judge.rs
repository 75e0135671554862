//! Conditions: what must hold of the store so that a write is logged at all.
//!
//! ```text
//!   log      … 41 42 43 │ a write on a condition stands here
//!   applied  … 41 42 43 │ ◀── it is judged by all of this, published or not, and by nothing else
//!   visible  … 41       │
//! ```
//!
//! A condition is judged by whoever has the turn, when every LSN that was given out has been applied and none is given
//! out meanwhile, **before** the write gets an LSN or leaves a byte. What is refused is no more than a read: logged as a
//! failure it would be replayed as a success.
//!
//! It may have been refused because of a version that nobody can see yet, and that a failed sync may yet take back. So
//! a refusal names the LSN that is to blame, and is answered once that is visible.

use std::sync::{Arc, OnceLock};

use super::reads::Reads;
use crate::catalog::Space;
use crate::lsn::Lsn;
use crate::memtable::Value;

/// A condition, and what came of it.
#[derive(Debug)]
pub(super) struct Conditional {
    pub(super) condition: Condition,
    pub(super) refusal: OnceLock<Refusal>,
}

/// What must hold.
#[derive(Debug)]
pub(super) enum Condition {
    /// A key has this value; `None`: it has none.
    Holds { space: Arc<Space>, key: Vec<u8>, expected: Option<Vec<u8>> },
    /// Nothing that a transaction has read was written since.
    Unchanged(Reads),
}

/// Why a write was refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// What was written against it. 0 if it is an absence so old that no version tells of it.
    pub(super) lsn: Lsn,
    /// The value that the key has, where one was expected.
    pub(super) current: Option<Value>,
}

impl Conditional {
    pub(super) fn new(condition: Condition) -> Box<Conditional> {
        Box::new(Conditional { condition, refusal: OnceLock::new() })
    }

    /// Contract: every LSN that was given out is applied, and none is given out meanwhile.
    pub(super) fn holds(&self) -> bool {
        match self.condition.judge() {
            Ok(()) => true,
            Err(refusal) => {
                let _ = self.refusal.set(refusal);
                false
            }
        }
    }
}

impl Condition {
    fn judge(&self) -> Result<(), Refusal> {
        match self {
            Condition::Holds { space, key, expected } => {
                let (lsn, current) =
                    space.table.newest(key).map_or((Lsn::ZERO, None), |newest| (newest.lsn, newest.value));
                let holds = current.as_deref() == expected.as_deref();
                if holds { Ok(()) } else { Err(Refusal { lsn, current }) }
            }
            Condition::Unchanged(reads) => match reads.written_since() {
                None => Ok(()),
                Some(lsn) => Err(Refusal { lsn, current: None }),
            },
        }
    }
}
