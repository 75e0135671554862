//! The command line as a script sees it: every command, every output form, every exit code, through the real binary.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod care;
mod data;
mod endings;
mod import;
mod lab;
mod output;
mod shell;
mod support;
mod system;
#[cfg(unix)]
mod terminal;
