//! The crash enumeration: every state that a power cut may leave behind is opened and judged.
//!
//! ```text
//!  a script runs once on a recording SimDisk
//!     │   before each operation: a crash point ─▶ its outcomes ─▶ images (each distinct one counts once)
//!     ▼
//!  an image is opened ─▶ judged ─▶ written to ─▶ closed ─▶ power cut ─▶ opened again ─▶ judged
//!     └▶ of some, the opening itself is recorded and enumerated, and of some of those once more
//! ```
//!
//! What is demanded of each image: it opens without an error and without help; what it holds is the state after some
//! LSN, not lower than the last one that was known to be durable when the power went; and what a completed opening
//! has shown is never lost again. Beside plain power cuts there are processes killed at any operation, whose changes
//! are only in the cache when the power goes, and syncs that fail and lose what they should have saved.
//!
//! Of a store with checkpoints, besides: opening begins with the last complete one or the one under way, and passes over
//! none; no file is left that belongs to nobody; and of some, the newest checkpoint is damaged afterwards, and
//! opening finds the same state from an older one, or says what is damaged.
//!
//! Everything follows from the seed: a violation says how to see it again. Only what is public is used, so that the
//! same code serves the tests, `forelog crash-test` and whoever wants to know.
//!
//! Where to read next: `script` (what is run), `timeline` (what may be found), `run`, `enumerate`, `wal`,
//! `store`, `store_script`, `budget`, `report`.

mod budget;
mod draw;
mod enumerate;
mod report;
mod run;
mod script;
mod store;
mod store_look;
mod store_script;
mod subject;
mod timeline;
mod wal;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::budget::Budget;
use self::draw::Draw;
use self::enumerate::{Known, enumerate_script};
pub use self::report::{CrashPath, CrashReport, PathCounts, Violation};
use self::script::ScriptId;
use self::store::StoreSubject;
use self::subject::Subject;
use self::wal::WalSubject;

/// A crash enumeration, ready to run.
///
/// ```
/// use forelog::crash_test::CrashTest;
///
/// let report = CrashTest::new(42).only("log close").run(); // one kind of script; all of them take longer
/// assert!(report.distinct_images() > 100);
/// assert_eq!(report.violations, []);
/// ```
#[derive(Clone, Debug)]
pub struct CrashTest {
    seed: u64,
    rounds: u64,
    threads: usize,
    only: Option<String>,
    images: Option<u64>,
}

impl CrashTest {
    /// An enumeration that follows from this seed: one round, on all processors.
    pub fn new(seed: u64) -> CrashTest {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        CrashTest { seed, rounds: 1, threads, only: None, images: None }
    }

    /// So many rounds, each with scripts of its own.
    #[must_use]
    pub fn rounds(self, rounds: u64) -> CrashTest {
        CrashTest { rounds, ..self }
    }

    /// On so many threads.
    #[must_use]
    pub fn threads(self, threads: usize) -> CrashTest {
        CrashTest { threads: threads.max(1), ..self }
    }

    /// Only the scripts whose name, as a violation states it, contains this.
    #[must_use]
    pub fn only(self, script: &str) -> CrashTest {
        CrashTest { only: Some(script.to_owned()), ..self }
    }

    /// As many rounds as it takes to judge so many distinct images, drawn from all that a round would judge, instead of
    /// whole rounds.
    ///
    /// ```
    /// use forelog::crash_test::CrashTest;
    ///
    /// let report = CrashTest::new(42).images(500).run();
    /// assert_eq!((report.distinct_images(), report.violation_count), (500, 0));
    /// assert!(report.paths.len() > 10, "from appending to restoring");
    /// ```
    #[must_use]
    pub fn images(self, images: u64) -> CrashTest {
        CrashTest { images: Some(images), ..self }
    }

    /// Runs it. Violations are part of the result.
    pub fn run(&self) -> CrashReport {
        self.run_while(&|_| true)
    }

    /// Runs it until it is through, or `go_on`, which is told now and then how many distinct images were judged, says
    /// no. The result is then that of what was tried.
    ///
    /// ```
    /// use forelog::crash_test::CrashTest;
    ///
    /// let report = CrashTest::new(42).run_while(&|judged| judged < 100); // of some 270,000
    /// assert!((100..110).contains(&report.distinct_images()));
    /// ```
    pub fn run_while(&self, go_on: &(dyn Fn(u64) -> bool + Sync)) -> CrashReport {
        let known = Known::default();
        let budget = Budget::new(self.images, go_on);
        let mut report = CrashReport::default();
        let rounds = if self.images.is_some() { u64::MAX } else { self.rounds };
        for seed in (0..rounds).map(|round| self.seed.wrapping_add(round)) {
            let before = budget.judged();
            report.add(self.round(seed, &known, &budget));
            // A round that finds nothing new says that the next would not either.
            if budget.is_spent() || self.images.is_some() && budget.judged() == before {
                break;
            }
        }
        report
    }

    fn round(&self, seed: u64, known: &Known, budget: &Budget<'_>) -> CrashReport {
        let mut scripts: Vec<Script> = self.scripts(&WalSubject, seed).map(Script::Log).collect();
        for subject in &StoreSubject::ALL {
            scripts.extend(self.scripts(subject, seed).map(|id| Script::Store(subject, id)));
        }
        if self.images.is_some() {
            // The budget may be spent before all of them had their turn.
            let mut draw = Draw::new(seed, 0);
            (1..scripts.len()).rev().for_each(|last| scripts.swap(last, draw.choice(last + 1)));
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut report = CrashReport::default();
            // ORDER: Relaxed, each number is taken once and nothing else hangs on it.
            while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed))
                && !budget.is_spent()
            {
                report.add(match script {
                    Script::Log(id) => enumerate_script(&WalSubject, *id, known, budget),
                    Script::Store(subject, id) => enumerate_script(*subject, *id, known, budget),
                });
            }
            report
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            let mut report = CrashReport::default();
            for thread in threads {
                match thread.join() {
                    Ok(part) => report.add(part),
                    // A panic of the engine is a finding of its own: pass it on as it is.
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            report
        })
    }

    fn scripts<S: Subject>(&self, subject: &S, seed: u64) -> impl Iterator<Item = ScriptId> {
        let wanted = |id: &ScriptId| {
            let name = id.full_name(subject);
            self.only.as_ref().is_none_or(|only| name.contains(only))
        };
        ScriptId::all(subject.flavors(), seed).filter(wanted).collect::<Vec<_>>().into_iter()
    }
}

/// A script and what it is run on.
enum Script {
    Log(ScriptId),
    Store(&'static StoreSubject, ScriptId),
}
