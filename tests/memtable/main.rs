//! The memtable from outside: both forms against one model, the skip list's traps, the blocks' own dangers.
//!
//! - `model`: random histories, compared step by step with a map of all versions ever written;

mod model;
mod support;
