//! Ctrl-C: remembered, and looked at where a long command can stop in good order.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;
use crate::output::say;

/// Set by the handler. Nothing else is shared through it, so no order is needed.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C only asks. Without this call it ends the process, as usual.
pub fn listen() {
    if let Err(error) = ctrlc::set_handler(|| REQUESTED.store(true, Ordering::Relaxed)) {
        say(format_args!("forelog: Ctrl-C will stop at once, not in good order: {error}"));
    }
}

/// Forgets an earlier Ctrl-C.
pub fn forget() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// True after Ctrl-C.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Stops the caller after Ctrl-C.
pub fn check() -> Result<(), Failure> {
    if requested() { Err(Failure::Interrupted) } else { Ok(()) }
}
