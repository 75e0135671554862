//! Waiting for durability without a thread: [`Durable`], a future that needs no runtime.
//!
//! The future only waits. The sync is done by the log's background thread, or by whoever else syncs; and whoever moves
//! the durable LSN, or poisons the log, wakes the futures that need wait no longer.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::log::Log;
use crate::error::Result;
use crate::lsn::Lsn;
use crate::sync::Mutex;

/// Resolves once everything up to an LSN survives a power cut, with [`Error::Poisoned`](crate::Error::Poisoned) if
/// that fails. The sync is under way already; dropping the future does not stop it.
///
/// ```
/// use forelog::{Db, Durability, Durable, Options};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let dir = tempfile::tempdir()?;
/// let db = Options::new().durability(Durability::Buffered).open(dir.path().join("data"))?;
/// let mut waiting: Vec<Durable> = Vec::new();
/// for number in 0..100_u32 {
///     let lsn = db.put(number.to_be_bytes(), "…")?;
///     waiting.push(db.durable(lsn)?);
/// }
/// for durable in waiting {
///     durable.await?; // a few syncs serve all of them
/// }
/// assert!(db.durable_lsn().get() >= 100);
/// # Ok(()) }) }
/// ```
#[must_use = "a future does nothing unless it is polled; the sync itself goes on without it"]
#[derive(Debug)]
pub struct Durable {
    log: Arc<Log>,
    lsn: Lsn,
    /// This future's place among the sleepers, once it has one.
    ticket: Option<u64>,
}

impl Durable {
    pub(super) fn new(log: Arc<Log>, lsn: Lsn) -> Durable {
        Durable { log, lsn, ticket: None }
    }
}

impl Future for Durable {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Durable { log, lsn, ticket } = &mut *self;
        if !log.is_settled(*lsn) {
            log.sleepers.enter(ticket, *lsn, context.waker());
            // ORDER: after entering, look again. Whoever settles it takes the list's lock afterwards: it either finds this
            // waker, or had the lock before us, and then what it did is seen here.
            if !log.is_settled(*lsn) {
                return Poll::Pending;
            }
        }
        Poll::Ready(log.sync_to(*lsn, 1))
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.log.sleepers.leave(ticket);
        }
    }
}

/// The futures that wait.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    /// Held for a few instructions. No waker is called, cloned or dropped under it: that is the caller's code, and a
    /// task that goes with its last waker may drop a future of ours.
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    next_ticket: u64,
    /// By their tickets.
    waiting: HashMap<u64, (Lsn, Waker)>,
}

impl Sleepers {
    fn enter(&self, ticket: &mut Option<u64>, lsn: Lsn, waker: &Waker) {
        let mut waker = waker.clone();
        let mut list = self.list.lock();
        match ticket.and_then(|ticket| list.waiting.get_mut(&ticket)) {
            Some((_, known)) => std::mem::swap(known, &mut waker),
            None => {
                list.next_ticket += 1;
                let number = list.next_ticket;
                list.waiting.insert(number, (lsn, waker));
                *ticket = Some(number);
                return;
            }
        }
        // ORDER: the old waker is dropped without the lock, see `list`.
        drop(list);
    }

    fn leave(&self, ticket: u64) {
        let mut list = self.list.lock();
        let left = list.waiting.remove(&ticket);
        // ORDER: see `list`.
        drop(list);
        drop(left);
    }

    /// True if nobody waits. ORDER: who enters looks again afterwards, so one that comes just now need not be seen.
    pub(super) fn is_empty(&self) -> bool {
        self.list.lock().waiting.is_empty()
    }

    /// Wakes those whose wait is over.
    pub(super) fn wake(&self, over: impl Fn(Lsn) -> bool) {
        let mut list = self.list.lock();
        let ready: Vec<_> = list.waiting.extract_if(|_, (lsn, _)| over(*lsn)).collect();
        drop(list);
        for (_, (_, waker)) in ready {
            // A panic of one executor must not keep the others asleep. Its message has been printed.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
