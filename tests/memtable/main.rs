//! The memtable from outside: both forms against one model, the skip list's traps, the blocks' own dangers.
//!
//! - `model`: random histories, compared step by step with a map of all versions ever written;
//! - `garbage`: what collection frees, and what it must keep;
//! - `keys`: keys that are awkward to order, to cut and to part;
//! - `run`: the bulk way in, by many threads;
//! - `threads`: readers, writers and collectors at once.

mod garbage;
mod keys;
mod model;
mod run;
mod support;
mod threads;
