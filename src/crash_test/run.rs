//! Runs steps on a disk, and keeps count of what may be found at each moment.

use std::sync::Arc;

use super::report::CrashPath;
use super::script::Step;
use super::subject::{Effect, Subject, Watch};
use super::timeline::{Expect, Seen, Timeline};
use crate::error::Error;
use crate::storage::SimDisk;

/// From one operation of the disk on: what is under way, and what may be found if the power goes.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Operations with a higher number belong to it.
    pub(super) after_operation: u64,
    pub(super) path: CrashPath,
    pub(super) expect: Expect,
}

/// Why a step came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It answered an error. Expected where faults are armed.
    Refused(Error),
    /// What was found must not be.
    Wrong(String),
}

impl Failure {
    pub(super) fn message(self) -> String {
        match self {
            Failure::Refused(error) => format!("an error on a healthy disk: {error}"),
            Failure::Wrong(what) => what,
        }
    }
}

/// A process at work.
pub(super) struct Run<'a, S: Subject> {
    subject: &'a S,
    disk: SimDisk,
    watch: Arc<Watch>,
    handle: Option<S::Handle>,
    /// What may be found now.
    expect: Expect,
    pub(super) moments: Vec<Moment>,
    /// What the last opening saw.
    pub(super) seen: Option<Seen>,
    pub(super) openings: u64,
}

impl<'a, S: Subject> Run<'a, S> {
    /// A process on a disk where this may be found.
    pub(super) fn new(subject: &'a S, disk: &SimDisk, expect: Expect) -> Run<'a, S> {
        let watch = Watch::new(disk);
        let disk = disk.clone();
        Run { subject, disk, watch, handle: None, expect, moments: Vec::new(), seen: None, openings: 0 }
    }

    /// What may be found now.
    pub(super) fn expect(&self) -> Expect {
        self.expect.clone()
    }

    /// The process ends without a word. Returns what may be found: what is dropped is closed, if it still can be.
    pub(super) fn end(mut self) -> Expect {
        if let Some(handle) = self.handle.take()
            && self.subject.lsns(&handle).0 == self.expect.timeline.last_lsn()
        {
            self.expect.timeline.push(&self.subject.close_mark(&handle));
        }
        self.expect
    }

    /// What is there now; for a process that has opened it.
    pub(super) fn timeline(&self) -> Timeline {
        self.expect.timeline.clone()
    }

    /// Looks for damage beside the running process.
    pub(super) fn verify(&self) -> Result<(), Failure> {
        match &self.handle {
            Some(handle) => self.subject.verify(&self.disk, handle).map_err(Failure::Wrong),
            None => Ok(()),
        }
    }

    /// # Errors
    /// Why one of the steps failed; those behind it are left out.
    pub(super) fn all(&mut self, steps: &[Step<S::Action>]) -> Result<(), Failure> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    /// # Errors
    /// Why it failed.
    pub(super) fn step(&mut self, step: &Step<S::Action>) -> Result<(), Failure> {
        match step {
            Step::Open => self.open(),
            Step::Act(action) => self.act(action),
            Step::Close => self.close(),
        }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.handle = None;
        let first = self.expect.timeline.last_lsn() == 0;
        self.begin(if first { CrashPath::Creation } else { CrashPath::Recovery });
        self.openings += 1;
        let handle = self.subject.open(&self.disk, &self.watch).map_err(Failure::Refused)?;
        let seen = self.subject.look(&self.disk, &handle).map_err(Failure::Wrong)?;
        if seen.checkpoint > 0 {
            self.call_it(CrashPath::CheckpointRecovery);
        }
        let note = self.disk.crash_point_now().note;
        let timeline = self.expect.judge(note, &seen).map_err(Failure::Wrong)?;
        // What a completed opening has shown is durable, whatever it was before.
        self.disk.set_note(seen.lsn);
        self.expect = Expect::shown(timeline, &seen);
        self.seen = Some(seen);
        self.handle = Some(handle);
        Ok(())
    }

    fn act(&mut self, action: &S::Action) -> Result<(), Failure> {
        let Some(handle) = self.handle.take() else {
            return Err(Failure::Wrong("the script acts on nothing".to_owned()));
        };
        let result = self.act_on(&handle, action);
        self.handle = Some(handle);
        result
    }

    fn act_on(&mut self, handle: &S::Handle, action: &S::Action) -> Result<(), Failure> {
        let before = self.timeline();
        let (_, _, oldest) = self.subject.lsns(handle);
        let effect = self.subject.effect(handle, action);
        match &effect {
            Effect::Grow(records) => records.iter().for_each(|changes| self.expect.timeline.push(changes)),
            Effect::MayGrow(changes) => self.expect.timeline.push(changes),
            Effect::Cut(lsn) => self.expect.cut = Some(before.up_to(*lsn)),
            Effect::RemoveBefore(lsn) => self.expect.oldest = (oldest, (*lsn).max(oldest)),
            Effect::Checkpoint(lsn) => self.expect.checkpoint.1 = *lsn,
            Effect::Copy(_) | Effect::Nothing => {}
        }
        self.begin(self.subject.path(action));
        let (rotations, archived_at) = (self.watch.rotations(), self.watch.archived_at());
        self.subject.act(&self.disk, handle, action).map_err(Failure::Refused)?;

        let (last, durable, oldest) = self.subject.lsns(handle);
        if self.watch.rotations() != rotations && matches!(effect, Effect::Grow(_) | Effect::MayGrow(_)) {
            self.call_it(CrashPath::Rotation);
        }
        if let Effect::Checkpoint(lsn) = effect {
            // What follows it was done with the checkpoint complete: it must be there.
            self.expect.checkpoint = (lsn, lsn);
            self.begin_after(self.watch.checkpointed_at(), CrashPath::Retention);
        }
        if let Effect::Copy(lsn) = effect {
            self.expect.copies.push(lsn);
        }
        if self.watch.archived_at() > archived_at {
            // What was done last went there; what is removed goes after that.
            self.call_it(CrashPath::Archive);
            self.begin_after(self.watch.archived_at(), CrashPath::Retention);
        }
        if let Some(cut) = self.expect.cut.take() {
            self.expect.timeline = cut;
        }
        if matches!(effect, Effect::MayGrow(_)) && last == before.last_lsn() {
            self.expect.timeline = before;
        }
        self.expect.oldest = (oldest, oldest);
        if last != self.expect.timeline.last_lsn() {
            let expected = self.expect.timeline.last_lsn();
            return Err(Failure::Wrong(format!("after {action:?} the last LSN is {last}, not {expected}")));
        }
        self.disk.set_note(durable);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(handle) = self.handle.take() else { return Ok(()) };
        let before = self.timeline();
        self.expect.timeline.push(&self.subject.close_mark(&handle));
        self.begin(CrashPath::Close);
        self.subject.close(&handle).map_err(Failure::Refused)?;
        let (last, durable, _) = self.subject.lsns(&handle);
        if last == before.last_lsn() {
            self.expect.timeline = before;
        }
        if durable != last || last != self.expect.timeline.last_lsn() {
            let expected = self.expect.timeline.last_lsn();
            return Err(Failure::Wrong(format!("closed at LSN {last}, durable {durable}, not {expected}")));
        }
        self.disk.set_note(last);
        Ok(())
    }

    /// Says on which path the present moment is, now that this is known.
    fn call_it(&mut self, path: CrashPath) {
        self.moments.iter_mut().next_back().into_iter().for_each(|now| now.path = path);
    }

    fn begin(&mut self, path: CrashPath) {
        self.begin_after(self.disk.operations(), path);
    }

    fn begin_after(&mut self, after_operation: u64, path: CrashPath) {
        self.moments.push(Moment { after_operation, path, expect: self.expect.clone() });
    }
}
