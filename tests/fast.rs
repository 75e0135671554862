//! The fast tests of the library in one binary that ends with the first failure. For `cargo mutants`, which builds and runs
//! it a thousand times: one binary is linked in place of sixteen, and most changes are noticed within a second. It is not
//! run by `cargo test`; see `docs/CONTRIBUTING.md`.

#[path = "archive.rs"]
mod t_archive;
#[path = "checkpoint.rs"]
mod t_checkpoint;
#[path = "commit.rs"]
mod t_commit;
#[path = "db.rs"]
mod t_db;
#[path = "golden.rs"]
mod t_golden;
#[path = "live.rs"]
mod t_live;
#[path = "peers.rs"]
mod t_peers;
#[path = "recovery.rs"]
mod t_recovery;
#[path = "regressions.rs"]
mod t_regressions;
#[path = "repair.rs"]
mod t_repair;
#[path = "repair_faults.rs"]
mod t_repair_faults;
#[path = "restore.rs"]
mod t_restore;
#[path = "salvage.rs"]
mod t_salvage;
#[path = "storage.rs"]
mod t_storage;
#[path = "upkeep.rs"]
mod t_upkeep;
#[path = "waiting.rs"]
mod t_waiting;
#[path = "wal.rs"]
mod t_wal;

/// Of the name that comes first, so that it is in place before anything fails. Threads that tests have made themselves may
/// panic: some are to, and a failure of another is one of the test that waits for it.
#[test]
fn a_failure_ends_all() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let of_a_test = thread.name().is_some_and(|name| name.starts_with("t_"));
        eprintln!("{} {panic}", thread.name().unwrap_or_default());
        if of_a_test && !panic.to_string().contains("as this test wants it") {
            std::process::exit(101);
        }
    }));
}
