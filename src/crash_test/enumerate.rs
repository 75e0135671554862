//! Opens and judges every image that the crash points of a script lead to.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::budget::Budget;
use super::draw::Draw;
use super::report::{CrashPath, CrashReport, Violation};
use super::run::{Failure, Moment, Run};
use super::script::{Flavor, ScriptId, Step};
use super::subject::Subject;
use super::timeline::{Expect, Seen, Timeline, Verdict};
use crate::storage::{CrashPoint, Fault, FaultKind, OperationFilter, OperationKind, Outcome, SimDisk};

/// The images that were judged already, by fingerprint, with what was found.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<u128, Verdict>>);

/// Runs one script with all its crashes.
pub(super) fn enumerate_script<S: Subject>(
    subject: &S,
    id: ScriptId,
    known: &Known,
    budget: &Budget<'_>,
) -> CrashReport {
    let mut draw = id.draw();
    let steps = subject.script(id.flavor, &mut draw);
    let mut search = Search { subject, known, budget, id, draw, mix: None, report: CrashReport::default() };
    match id.flavor {
        Flavor::Kill | Flavor::KillCut => search.kills(&steps),
        Flavor::FailedSync => search.failed_syncs(&steps),
        _ => search.power_cuts(&steps),
    }
    search.report
}

/// A crash to be looked at: where, what may be found, and how it came to be.
struct Scene<'a> {
    point: &'a CrashPoint,
    outcome: Outcome,
    moment: &'a Moment,
    /// How many openings were cut short before this one.
    depth: usize,
    trail: &'a [String],
}

impl Scene<'_> {
    fn trail(&self) -> Vec<String> {
        let mut trail = self.trail.to_vec();
        trail.push(format!("power cut at {}, {:?}", self.point, self.outcome));
        trail
    }
}

struct Search<'a, S: Subject> {
    subject: &'a S,
    known: &'a Known,
    budget: &'a Budget<'a>,
    id: ScriptId,
    draw: Draw,
    /// What had happened before the power cut; its images are counted there.
    mix: Option<CrashPath>,
    report: CrashReport,
}

impl<S: Subject> Search<'_, S> {
    /// The script runs once; the power goes at each operation.
    fn power_cuts(&mut self, steps: &[Step<S::Action>]) {
        let disk = self.id.disk();
        let run = Run::new(self.subject, &disk, Expect::nothing());
        self.record_and_enumerate(run, &disk, steps, 0, &[]);
    }

    /// The process is killed at each operation of the script; the next one opens, writes and closes, and at each of
    /// its operations the power goes. Of some, the second process is killed too.
    fn kills(&mut self, steps: &[Step<S::Action>]) {
        self.mix = Some(CrashPath::KillThenPowerCut);
        let step = self.subject.kill_step();
        let first = 1 + self.id.seed % step;
        for operation in (0..).map(|number| first + number * step) {
            if self.budget.is_spent() {
                return;
            }
            let disk = self.id.disk();
            let trail = format!("killed at operation {operation}");
            let Some((disk, expect)) = self.kill(&disk, Expect::nothing(), steps, operation, &trail) else {
                return;
            };
            if self.draw.one_in(4) {
                let twice = 1 + self.draw.below(40);
                let trail = [trail.clone(), format!("the next process killed {twice} operations on")];
                let again = self.then();
                if let Some((disk, expect)) =
                    self.kill(&disk.fork(), expect.clone(), &again, twice, &trail[1])
                {
                    self.next_process(&disk, expect, &trail);
                }
            }
            self.next_process(&disk, expect, &[trail]);
        }
    }

    /// A process that is killed at this operation; `None` if it does not get so far. The disk then belongs to the
    /// next one.
    ///
    /// All calls fail from that operation on, whatever the dying process still tries.
    fn kill(
        &mut self,
        disk: &SimDisk,
        expect: Expect,
        steps: &[Step<S::Action>],
        operation: u64,
        trail: &str,
    ) -> Option<(SimDisk, Expect)> {
        disk.fail(Fault::new(FaultKind::Eio).on(OperationFilter::any()).at(operation).forever());
        let mut run = Run::new(self.subject, disk, expect);
        let result = run.all(steps);
        let expect = run.expect();
        self.report.openings += run.openings;
        drop(run);
        disk.clear_faults();
        match result {
            Ok(()) => None,
            // Whatever it says once it is dying.
            Err(_) if disk.faults_hit() > 0 => Some((disk.kill(), expect)),
            Err(failure) => {
                self.violation(CrashPath::KillThenPowerCut, vec![trail.to_owned()], failure.message());
                None
            }
        }
    }

    /// Each sync of the script fails once, in each way. Then the same process or the next one opens again, and at each
    /// of its operations the power goes.
    fn failed_syncs(&mut self, steps: &[Step<S::Action>]) {
        self.mix = Some(CrashPath::FailedSync);
        // A directory whose sync failed is what is on disk: the file system stops there, and mounting it again reads
        // it anew. There is no page of it that stays in the cache and is never written.
        for (kind, on) in [
            (FaultKind::SyncLost, OperationKind::Sync),
            (FaultKind::SyncReverted, OperationKind::Sync),
            (FaultKind::SyncReverted, OperationKind::SyncDir),
        ] {
            for sync in 1.. {
                if self.budget.is_spent() {
                    return;
                }
                let disk = self.id.disk();
                disk.fail(Fault::new(kind).on(on).at(sync));
                let trail = [format!("{kind:?} at {on:?} number {sync}")];
                let mut run = Run::new(self.subject, &disk, Expect::nothing());
                let result = run.all(steps);
                self.report.openings += run.openings;
                let expect = run.end();
                match result {
                    Err(Failure::Refused(_)) => {}
                    Ok(()) if disk.faults_hit() == 0 => break,
                    Ok(()) => {
                        self.violation(CrashPath::FailedSync, trail.to_vec(), "nobody noticed".to_owned());
                        continue;
                    }
                    Err(Failure::Wrong(what)) => {
                        self.violation(CrashPath::FailedSync, trail.to_vec(), what);
                        continue;
                    }
                }
                let disk = if sync % 2 == 0 { disk.kill() } else { disk };
                self.next_process(&disk, expect, &trail);
            }
        }
    }

    /// What a process does after a crash.
    fn then(&mut self) -> Vec<Step<S::Action>> {
        let actions = self.subject.follow_up(&mut self.draw).into_iter().map(Step::Act);
        std::iter::once(Step::Open).chain(actions).chain([Step::Close]).collect()
    }

    fn next_process(&mut self, disk: &SimDisk, expect: Expect, trail: &[String]) {
        let steps = self.then();
        let run = Run::new(self.subject, disk, expect);
        self.record_and_enumerate(run, disk, &steps, 1, trail);
    }

    fn record_and_enumerate(
        &mut self,
        mut run: Run<'_, S>,
        disk: &SimDisk,
        steps: &[Step<S::Action>],
        depth: usize,
        trail: &[String],
    ) {
        disk.record();
        let result = run.all(steps);
        let points = disk.take_crash_points();
        let moments = std::mem::take(&mut run.moments);
        self.report.openings += run.openings;
        drop(run);
        if let Err(failure) = result {
            let path = moments.last().map_or(CrashPath::Creation, |moment| moment.path);
            self.violation(path, trail.to_vec(), failure.message());
        }
        for point in &points {
            let Some(moment) = moments.iter().rev().find(|moment| moment.after_operation < point.operation)
            else {
                continue;
            };
            let path = self.mix.unwrap_or(moment.path);
            self.report.paths.entry(path).or_default().points += 1;
            for outcome in point.outcomes(&self.id.limits(depth, path), self.id.seed) {
                if !self.budget.takes(&mut self.draw) {
                    continue;
                }
                self.report.paths.entry(path).or_default().outcomes += 1;
                self.image(&Scene { point, outcome, moment, depth, trail });
            }
        }
    }

    fn image(&mut self, scene: &Scene<'_>) {
        let image = scene.point.apply(&scene.outcome);
        let fingerprint = image.fingerprint();
        // Each image has draws of its own: what other threads have judged already changes nothing behind it.
        let own = Draw::new(self.id.seed, u64::try_from(fingerprint >> 64).unwrap_or(0));
        let of_the_script = std::mem::replace(&mut self.draw, own);
        self.judge_image(scene, image, fingerprint);
        self.draw = of_the_script;
    }

    fn judge_image(&mut self, scene: &Scene<'_>, image: SimDisk, fingerprint: u128) {
        let Scene { point, moment, depth, .. } = scene;
        let path = self.mix.unwrap_or(moment.path);
        let known = self.known.0.lock().get(&fingerprint).cloned();
        if let Some(known) = known {
            if let Err(what) = moment.expect.judge_again(point.note, &known) {
                self.violation(path, scene.trail(), what);
            }
            return;
        }
        let thorough = self.draw.one_in(8);
        let (found, seen) = match self.judge(image, &moment.expect, thorough) {
            Ok(found) => found,
            Err(failure) => {
                self.violation(path, scene.trail(), failure.message());
                return;
            }
        };
        let (lsn, hash) = (found.last_lsn(), found.hash());
        let copies = seen.copies.iter().map(|(lsn, _)| *lsn).collect();
        let verdict = Verdict { lsn, hash, checkpoint: seen.checkpoint, copies };
        let new = self.known.0.lock().insert(fingerprint, verdict).is_none();
        if !new || !self.budget.count() {
            return;
        }
        self.report.paths.entry(path).or_default().distinct += 1;
        if let Some(count) = depth.checked_sub(1).and_then(|depth| self.report.nested.get_mut(depth)) {
            *count += 1;
        }
        self.report.torn += u64::from(seen.torn);
        self.report.rewritten += u64::from(seen.rewritten);
        self.report.lost_copies += u64::from(seen.lost_copy);

        // The opening of an image is a script of its own.
        let odds = match (depth, seen.lost_copy, seen.torn) {
            // One that loads a checkpoint has many steps.
            (0, ..) if seen.checkpoint > 0 => 160,
            (0, true, _) => 120,
            (0, false, true) => 150,
            (0, false, false) => 100,
            (1, ..) => 800,
            _ => return,
        };
        if self.draw.one_in(odds) {
            self.nested(scene, found, &seen);
        }
    }

    /// Opens an image, writes to it, cuts the power, and opens it again.
    fn judge(
        &mut self,
        image: SimDisk,
        expect: &Expect,
        thorough: bool,
    ) -> Result<(Timeline, Seen), Failure> {
        let peeked = if thorough { self.subject.peek(&image).map_err(Failure::Wrong)? } else { None };
        let mut run = Run::new(self.subject, &image, expect.clone());
        run.step(&Step::Open)?;
        let found = run.timeline();
        let Some(seen) = run.seen.take() else { return Err(Failure::Wrong("nothing was seen".to_owned())) };
        if let Some(peeked) = peeked
            && (peeked.lsn, &peeked.state) != (seen.lsn, &seen.state)
        {
            let message = format!("a reader saw LSN {} where opening found LSN {}", peeked.lsn, seen.lsn);
            return Err(Failure::Wrong(message));
        }
        for action in self.subject.follow_up(&mut self.draw) {
            run.step(&Step::Act(action))?;
        }
        if thorough {
            run.verify()?;
            let lost = image.crash_point_now().apply(&Outcome::None);
            Run::new(self.subject, &lost, run.expect())
                .step(&Step::Open)
                .map_err(after("the first writes"))?;
            self.report.openings += 1;
        }
        run.step(&Step::Close)?;
        let expect = run.expect();
        drop(run);
        let again = image.power_cut(&Outcome::None);
        let mut run = Run::new(self.subject, &again, expect);
        run.step(&Step::Open).map_err(after("closing"))?;
        self.report.openings += 2;
        if thorough && let Some(seen) = run.seen.take() {
            let rotten = self.subject.rot(&again.fork(), &seen, &mut self.draw).map_err(Failure::Wrong)?;
            self.report.rotten += u64::from(rotten);
        }
        Ok((found, seen))
    }

    /// The same image again, opened on a recording disk. All of it is durable, so every crash from now on must lead
    /// to exactly what the first opening found, or to more.
    fn nested(&mut self, scene: &Scene<'_>, found: Timeline, seen: &Seen) {
        let disk = scene.point.apply(&scene.outcome);
        disk.set_note(found.last_lsn());
        let expect = Expect::shown(found, seen);
        let steps = self.then();
        let run = Run::new(self.subject, &disk, expect);
        self.record_and_enumerate(run, &disk, &steps, scene.depth + 1, &scene.trail());
    }

    fn violation(&mut self, path: CrashPath, crashes: Vec<String>, message: String) {
        let (script, seed) = (self.id.full_name(self.subject), self.id.seed);
        self.report.note(Violation { script, seed, path, crashes, message });
    }
}

/// Says in a failure that it came with the second opening.
fn after(what: &'static str) -> impl Fn(Failure) -> Failure {
    move |failure| Failure::Wrong(format!("after {what} and a power cut: {}", failure.message()))
}
