//! The commit queue: many threads hand in work, one of them does for all what must be done in one order.
//!
//! ```text
//!   line    A leads: waits for its turn ──▶ turn ──▶ log(A B C) ──▶ finish(A B C) ──▶ done ──▶ A, B, C return
//!           B, C follow: wait, and meanwhile(own) ···│··········▶
//!                                                    └▶ the next leader has its turn: D logs while A finishes
//! ```
//!
//! The first in line leads. While it waits for its turn, others join and follow; when its turn comes it takes the
//! whole line along, and the next to come is the first of a new one. A lone thread leads itself and is never handed to
//! another. What `log` does happens for one group at a time, in the order of the turns; what `finish` does may overlap
//! with it and with other groups' `finish`. A follower that is awake anyway does its own part of the work.
//!
//! What became of an item stands in the item.
//!
//! LOCKS: `turn`, then `line`, then `taken`. A group's own lock is a leaf. `line` and what comes after it are held for a few
//! instructions, and may be wanted under any lock of the log.
//!
//! INVARIANT: a line with followers has a leader, who will take it: `led` is set by whoever comes to lead, and reset in
//! the same moment in which the line is taken.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::members::Members;
use super::poison::Alarm;
use crate::sync::{AtomicBool, Condvar, Mutex, OnPanic, Ordering, yield_before_sleep, yield_now};

/// What is done with what is handed in. Any thread may do it for any other.
pub(crate) trait Work {
    type Item;
    type Result;

    /// How much room an item takes in line.
    fn bytes(&self, item: &Self::Item) -> usize;

    /// Done by the leader, for one group at a time, in the order of the turns.
    fn log(&self, group: &Members<Self::Item>);

    /// Done by a follower with its own item, as often as it looks whether its leader is done.
    fn meanwhile(&self, item: &Self::Item);

    /// Done by the leader after `log`, beside other groups. Then the followers are let go.
    fn finish(&self, group: &Members<Self::Item>);

    /// A thread has panicked in `log`, `meanwhile` or `finish`: what it was doing is half done, and others wait for it.
    fn panicked(&self);

    /// What came of an item, after all this; if its leader panicked, after some of it.
    fn result(&self, item: &Self::Item) -> Self::Result;
}

/// Combines what threads hand in at the same time.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// Held while a group is logged: the order of the turns is the order of the log.
    turn: Mutex<()>,
    /// Held for a few instructions.
    line: Mutex<Line<T>>,
    /// Told when a line is taken, if somebody waits for room.
    room: Condvar,
    /// The groups that were taken and are not done, if anybody follows in them: to be told when the log is poisoned.
    /// Held for a few instructions.
    taken: Mutex<Vec<Arc<Group>>>,
    /// The log is poisoned: nobody waits for a leader any more. ORDER: Release, before those who sleep are told.
    poisoned: AtomicBool,
    /// How many bytes may stand in line before others wait.
    limit_bytes: usize,
}

#[derive(Debug)]
struct Line<T> {
    /// Somebody leads this line, or will.
    led: bool,
    followers: Vec<Arc<T>>,
    bytes: usize,
    /// Threads that wait until there is room.
    outside: usize,
    /// Where the followers wait for their leader.
    group: Arc<Group>,
}

/// The followers of one leader, waiting.
#[derive(Debug, Default)]
struct Group {
    /// The leader is done. Set with the lock of `asleep`; here, so that a waiter can look without it.
    done: AtomicBool,
    /// How many sleep.
    asleep: Mutex<usize>,
    finished: Condvar,
}

impl Group {
    fn finish(&self) {
        let asleep = self.asleep.lock();
        // ORDER: Release pairs with the Acquire of those who wait: what the leader did is seen by them.
        self.done.store(true, Ordering::Release);
        if *asleep > 0 {
            drop(asleep);
            self.finished.notify_all();
        }
    }

    /// Wakes all who sleep, to look again.
    fn wake(&self) {
        let asleep = self.asleep.lock();
        if *asleep > 0 {
            drop(asleep);
            self.finished.notify_all();
        }
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Waits for the leader, or until `over` says that there is nothing to wait for.
    fn wait(&self, over: impl Fn() -> bool, mut meanwhile: impl FnMut()) {
        let done = yield_before_sleep(|| {
            meanwhile();
            self.is_done() || over()
        });
        if !done {
            let mut asleep = self.asleep.lock();
            *asleep += 1;
            while !self.is_done() && !over() {
                asleep = self.finished.wait(asleep);
            }
            *asleep -= 1;
        }
    }
}

/// Lets the followers go when the leader is done, or panics.
struct Leading<'a, W: Work> {
    work: &'a W,
    queue: &'a Queue<W::Item>,
    group: Option<Arc<Group>>,
    done: bool,
}

impl<W: Work> Drop for Leading<'_, W> {
    fn drop(&mut self) {
        // ORDER: before the followers go, so that they find why nothing came of what they handed in.
        if !self.done {
            self.work.panicked();
        }
        if let Some(group) = &self.group {
            self.queue.taken.lock().retain(|taken| !Arc::ptr_eq(taken, group));
            group.finish();
        }
    }
}

impl<T: fmt::Debug + Send + Sync> Alarm for Queue<T> {
    /// Lets the followers go, and those outside: their leader may be stuck in the very call that never returns. What
    /// they have handed in stays with it.
    fn poisoned(&self) {
        self.poisoned.store(true, Ordering::Release);
        let line = self.line.lock();
        let mut groups = vec![line.group.clone()];
        groups.extend(self.taken.lock().iter().cloned());
        drop(line);
        self.room.notify_all();
        groups.iter().for_each(|group| group.wake());
    }
}

impl<T> Queue<T> {
    /// `limit_bytes`: how much may stand in line; one item is always taken, however long.
    pub(crate) fn new(limit_bytes: usize) -> Queue<T> {
        Queue {
            turn: Mutex::new(()),
            line: Mutex::new(Line {
                led: false,
                followers: Vec::new(),
                bytes: 0,
                outside: 0,
                group: Arc::default(),
            }),
            room: Condvar::default(),
            taken: Mutex::default(),
            poisoned: AtomicBool::new(false),
            limit_bytes,
        }
    }

    /// Hands in an item, and returns what came of it once a leader has done `log` and `finish` for a group that holds
    /// it: this thread or another.
    ///
    /// With `gather`, a leader lets others run once before it takes the line, so that those who are about to join do:
    /// worth it if a sync follows that others will want too, not if all there is to do takes a microsecond, or if nobody
    /// else writes.
    pub(crate) fn pass<R>(&self, item: T, gather: bool, work: &impl Work<Item = T, Result = R>) -> R {
        let bytes = work.bytes(&item);
        let mut line = self.line.lock();
        while line.led && line.bytes > 0 && line.bytes.saturating_add(bytes) > self.limit_bytes {
            if self.is_poisoned() {
                return work.result(&item);
            }
            line.outside += 1;
            line = self.room.wait(line);
            line.outside -= 1;
        }
        if line.led {
            let item = Arc::new(item);
            line.followers.push(item.clone());
            line.bytes += bytes;
            let group = line.group.clone();
            drop(line);
            let following = OnPanic(|| work.panicked());
            group.wait(|| self.is_poisoned(), || work.meanwhile(&item));
            following.all_is_well();
            return work.result(&item);
        }
        line.led = true;
        drop(line);

        let turn = self.turn.lock_soon();
        if gather {
            yield_now();
        }
        let (followers, group) = self.take_line();
        let mut leading = Leading { work, queue: self, group, done: false };
        let members = Members::new(item, followers);
        work.log(&members);
        drop(turn);
        work.finish(&members);
        leading.done = true;
        drop(leading);
        work.result(members.leader())
    }

    /// Those who follow, and where they wait if there are any. From here on the next to come leads a new line.
    fn take_line(&self) -> (Vec<Arc<T>>, Option<Arc<Group>>) {
        let mut line = self.line.lock();
        line.led = false;
        if line.followers.is_empty() {
            return (Vec::new(), None);
        }
        line.bytes = 0;
        let followers = mem::take(&mut line.followers);
        let group = mem::take(&mut line.group);
        // ORDER: with the line held, so that whoever looks there and then here finds every group that has followers.
        self.taken.lock().push(group.clone());
        let outside = line.outside;
        drop(line);
        if outside > 0 {
            self.room.notify_all();
        }
        (followers, Some(group))
    }

    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Does something while nobody logs.
    pub(crate) fn alone<X>(&self, work: impl FnOnce() -> X) -> X {
        let _turn = self.turn.lock();
        work()
    }
}
