//! A progress bar for what takes longer than a second, if standard error is a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What takes less than this shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far something is.
#[derive(Debug)]
pub struct Progress {
    verb: &'static str,
    total: Option<u64>,
    done: u64,
    begun: Instant,
    wanted: bool,
    /// What is counted, where the total is not known, is bytes.
    of_bytes: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing is done yet. `total` is `None` where it is not known.
    pub fn new(verb: &'static str, total: Option<u64>, quiet: bool) -> Progress {
        let wanted = Progress::is_wanted(quiet);
        Progress { verb, total, done: 0, begun: Instant::now(), wanted, of_bytes: false, bar: None }
    }

    /// Bytes are counted, and nobody knows how many there will be.
    pub fn of_bytes(verb: &'static str, quiet: bool) -> Progress {
        let mut progress = Progress::new(verb, None, quiet);
        progress.of_bytes = true;
        progress
    }

    /// Whether anybody would see a bar.
    pub fn is_wanted(quiet: bool) -> bool {
        !quiet && io::stderr().is_terminal()
    }

    /// So much more is done.
    pub fn add(&mut self, more: u64) {
        self.done += more;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        // The clock is looked at now and then only: this is called for every row.
        } else if self.wanted
            && (more > 1 || self.done.is_multiple_of(1024))
            && self.begun.elapsed() >= PATIENCE
        {
            self.bar = Some(self.new_bar());
        }
    }

    fn new_bar(&self) -> ProgressBar {
        // Not the whole width: the `^C` that a terminal shows must not begin a new line, which would stay.
        let (bar, template) = match self.total {
            Some(total) => {
                (ProgressBar::new(total), "{msg} {bytes} of {total_bytes} {bar:24} {percent} % {eta} to go")
            }
            None if self.of_bytes => {
                (ProgressBar::new_spinner(), "{msg} {bytes} {spinner} {bytes_per_sec} {elapsed}")
            }
            None => (ProgressBar::new_spinner(), "{msg} {human_pos} {spinner} {per_sec}"),
        };
        // A template that is wrong shows indicatif's own bar instead.
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        bar.set_message(self.verb);
        bar.set_position(self.done);
        bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
