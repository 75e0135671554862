//! The `forelog` command.

fn main() {}
