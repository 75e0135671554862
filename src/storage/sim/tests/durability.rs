//! What each call makes durable, and what a power cut may leave of the rest, by example.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use super::super::super::{Access, Storage, read_full_at};
use super::super::{Outcome, SimDisk};
use super::{file, files, found_now, write};

fn path(path: &str) -> &Path {
    Path::new(path)
}

/// Syncs a file but not its directory: the file is gone. Then the directory: it is there.
#[test]
fn a_file_sync_saves_bytes_but_not_the_name() {
    let disk = SimDisk::new(1);
    let new = disk.create(path("new")).unwrap();
    write(&new, b"bytes", 0);
    new.sync_all().unwrap();
    new.sync_data().unwrap();
    assert_eq!(found_now(&disk), ["", "new=bytes"]);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), ["new=bytes"]);
}

/// Syncs a directory but not the file in it: the name is there, bytes and length are not.
#[test]
fn a_directory_sync_saves_names_but_not_bytes() {
    let disk = SimDisk::new(1);
    let new = disk.create(path("new")).unwrap();
    write(&new, b"bytes", 0);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), ["new=", "new=\0\0\0\0\0", "new=bytes"]);
}

/// Syncs what is in a new directory, but not the directory it is in: all of it hangs in the air.
#[test]
fn a_directory_is_itself_a_name() {
    let disk = SimDisk::new(1);
    disk.create_dir(path("d")).unwrap();
    disk.create(path("d/f")).unwrap();
    disk.sync_dir(path("d")).unwrap();
    assert_eq!(found_now(&disk), ["", "d/f="]);
    let empty = disk.crash_point_now().apply(&Outcome::None);
    assert_eq!(empty.list(path("d")).unwrap_err().kind(), ErrorKind::NotFound);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), ["d/f="]);
}

/// Replaces a file by renaming: the old or the new one is found, never both names, never none.
#[test]
fn a_rename_is_atomic() {
    let disk = SimDisk::new(1);
    file(&disk, "new", b"N");
    file(&disk, "old", b"O");
    disk.rename(path("new"), path("old")).unwrap();
    assert_eq!(found_now(&disk), ["new=N old=O", "old=N"]);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), ["old=N"]);
}

/// Renames a file that was not synced: the name may come with nothing behind it. This empties files in real life.
#[test]
fn a_rename_does_not_wait_for_the_bytes() {
    let disk = SimDisk::new(1);
    let new = disk.create(path("tmp")).unwrap();
    write(&new, b"N", 0);
    disk.rename(path("tmp"), path("real")).unwrap();
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), ["real=", "real=\0", "real=N"]);
}

/// Renames across directories and syncs neither, one or both.
#[test]
fn a_rename_across_directories_needs_both_syncs() {
    let disk = SimDisk::new(1);
    file(&disk, "f", b"F");
    disk.create_dir(path("d")).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.rename(path("f"), path("d/f")).unwrap();
    assert_eq!(found_now(&disk), ["", "d/f=F", "d/f=F f=F", "f=F"]);
    disk.sync_dir(path("d")).unwrap();
    assert_eq!(found_now(&disk), ["d/f=F", "d/f=F f=F"]);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), ["d/f=F"]);
}

/// Removes a file: it may be back, with its bytes, until the directory is synced.
#[test]
fn a_removed_file_may_come_back() {
    let disk = SimDisk::new(1);
    let old = file(&disk, "old", b"O");
    write(&old, b"X", 0);
    disk.remove(path("old")).unwrap();
    drop(old);
    assert_eq!(found_now(&disk), ["", "old=O", "old=X"]);
    disk.sync_dir(path("")).unwrap();
    assert_eq!(found_now(&disk), [""]);
    assert_eq!(disk.unsynced_changes(), 0, "nothing is kept of a file that nothing can bring back");
}

/// Removes a file whose name was never durable, and syncs another: the name may still come, and its bytes with it.
#[test]
fn a_lost_removal_brings_back_a_file_that_was_never_durable() {
    let disk = SimDisk::new(1);
    let brief = disk.create(path("brief")).unwrap();
    write(&brief, b"B", 0);
    brief.sync_all().unwrap();
    drop(brief);
    disk.remove(path("brief")).unwrap();
    let other = disk.create(path("other")).unwrap();
    other.sync_all().unwrap();
    assert_eq!(found_now(&disk), ["", "brief=B", "brief=B other=", "other="]);
}

/// Writes to two sectors twice: each holds any of its three contents, whatever the other holds.
#[test]
fn sectors_survive_independently() {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", &[b'a'; 1024]);
    let contents = |disk: &SimDisk| {
        let bytes = disk.read_file("f").unwrap();
        (bytes[510..512].to_vec(), bytes[512..514].to_vec())
    };
    write(&file, b"bb", 511);
    write(&file, b"cc", 511);
    let point = disk.crash_point_now();
    let images: HashSet<_> = (0..16).map(|bits| contents(&point.apply(&Outcome::Subset(bits)))).collect();
    let sides = [[b"aa", b"ab", b"ac"], [b"aa", b"ba", b"ca"]];
    let all = sides[0].iter().flat_map(|left| sides[1].iter().map(|right| (left.to_vec(), right.to_vec())));
    assert_eq!(images, all.collect());
}

/// Cuts a file and lets it grow again: what comes back, if the cut survived, are zeros.
#[test]
fn lengths_survive_independently() {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", b"abcd");
    file.set_len(2).unwrap();
    file.set_len(5).unwrap();
    assert_eq!(found_now(&disk), ["f=ab", "f=ab\0\0\0", "f=abcd", "f=abcd\0"]);
    file.sync_data().unwrap();
    assert_eq!(found_now(&disk), ["f=ab\0\0\0"]);

    // Bytes whose length was lost are gone for good: they do not come back when the file grows again.
    write(&file, b"appended", 5);
    let short = disk.crash_point_now().apply(&Outcome::Subset(1));
    assert_eq!(files(&short), "f=ab\0\0\0");
    short.open(path("f"), Access::ReadWrite).unwrap().set_len(8).unwrap();
    assert_eq!(files(&short), "f=ab\0\0\0\0\0\0");
}

/// Kills the process twice: the cache stays, unsynced; then the power goes, and takes it.
#[test]
fn a_kill_keeps_the_cache_and_saves_nothing() {
    let first = SimDisk::new(1);
    let old = file(&first, "f", b"old");
    let lock = first.lock(path("LOCK"), true).unwrap();
    write(&old, b"new", 0);
    let second = first.kill();
    assert!(old.sync_all().is_err(), "a dead process saves nothing any more");
    assert!(read_full_at(&*old, &mut [0], 0).is_err());
    assert!(first.list(path("")).is_err());
    let again = second.lock(path("LOCK"), true).unwrap();
    drop(lock);
    assert!(second.lock(path("LOCK"), true).is_err(), "a dead process gives back no lock of a living one");
    drop(again);
    assert_eq!(files(&second), "LOCK= f=new");

    let third = second.kill();
    assert_eq!(found_now(&third), ["LOCK= f=new", "LOCK= f=old", "f=new", "f=old"]);
    let handle = third.open(path("f"), Access::ReadWrite).unwrap();
    handle.sync_all().unwrap();
    assert_eq!(files(&third.power_cut(&Outcome::None)), "f=new");
    assert!(handle.sync_all().is_err(), "the power is off");
}

/// Forks a disk with unsynced changes: both may be synced, changed and cut off without the other noticing.
#[test]
fn a_fork_is_independent() {
    let disk = SimDisk::new(1);
    let one = file(&disk, "f", b"old");
    write(&one, b"new", 0);
    let fork = disk.fork();
    one.sync_all().unwrap();
    assert_eq!(
        (found_now(&disk), found_now(&fork)),
        (vec!["f=new".into()], vec!["f=new".into(), "f=old".into()])
    );
    fork.remove(path("f")).unwrap();
    assert_eq!((files(&disk), files(&fork)), ("f=new".into(), String::new()));
    assert_eq!(disk.random_u64(), fork.random_u64());
}

/// The clock ticks, is set, and goes on after a power cut, and so does the randomness.
#[test]
fn clock_and_randomness_go_on() {
    let disk = SimDisk::new(1);
    assert_eq!((disk.now_us(), disk.now_us()), (1_704_067_200_000_000, 1_704_067_200_000_001));
    disk.set_clock_us(5);
    assert_eq!(disk.now_us(), 5);
    let (next, fork) = (disk.power_cut(&Outcome::All), disk.fork());
    assert_eq!((next.now_us(), next.random_u64()), (6, fork.random_u64()));
    assert_ne!(next.random_u64(), SimDisk::new(2).random_u64());
    disk.set_clock_us(u64::MAX);
    assert_eq!((disk.now_us(), disk.now_us()), (u64::MAX, u64::MAX));
}

/// Damages files past the rules: at once, durably, and safe from what was pending.
#[test]
fn the_back_door_is_durable() {
    let disk = SimDisk::new(1);
    let open = file(&disk, "f", b"old");
    write(&open, b"new", 0);
    disk.create(path("other")).unwrap();
    disk.write_file("f", b"damaged");
    disk.write_file("deep/er/g", b"G");
    assert_eq!(found_now(&disk), ["deep/er/g=G f=damaged other="]);
    assert!(disk.remove_file("f"));
    assert!(!disk.remove_file("f") && !disk.remove_file("deep"));
    assert_eq!(found_now(&disk), ["deep/er/g=G other="]);
    for nonsense in ["", "/", "deep", "other/below", ".."] {
        disk.write_file(nonsense, b"no");
        assert_eq!(disk.read_file(nonsense), None);
    }
    assert_eq!(found_now(&disk), ["deep/er/g=G other="]);
}
