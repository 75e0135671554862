//! What the operating system refuses: a file system that is mounted for reading, a disk that is full, a missing
//! permission, more files than a process may open. With real mounts, in a namespace of its own, where the system gives one.

use std::process::Command;

use super::support::{Place, Ran};

/// So many lines to import.
fn lines(count: u32) -> String {
    let value = "v".repeat(700);
    (0..count).map(|number| format!("{{\"key\":\"key{number:05}\",\"value\":\"{value}\"}}\n")).collect()
}

/// Runs a script in which `$forelog` is the binary. `unshare`: with these options, the script in a namespace of its own.
fn script(place: &Place, unshare: &str, script: &str) -> Ran {
    let mut command = place.command(&[]);
    let binary = command.get_program().to_owned();
    command = if unshare.is_empty() { Command::new("sh") } else { Command::new("unshare") };
    if !unshare.is_empty() {
        command.args(unshare.split(' ')).arg("sh");
    }
    command.args(["-c", script]).current_dir(place.dir.path()).env("forelog", binary).env_remove("NO_COLOR");
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Whether a namespace can be had: not in every container, and only on Linux.
fn has_namespaces() -> bool {
    let done = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let has = done.is_ok_and(|done| done.status.success());
    if !has {
        println!("no namespaces here: nothing was tried");
    }
    has
}

/// What is mounted for reading is read, and who wants to write hears why not.
#[test]
fn a_read_only_file_system() {
    let place = Place::with(&[("a", "1")]);
    if !has_namespaces() {
        return;
    }
    let read_only = "mount --bind demo demo && mount -o remount,ro,bind demo &&";
    for (command, expected) in
        [("get demo a", "1\n"), ("scan demo", "a\t1\n"), ("-q verify demo", "status\tclean\nrecords\t3\n")]
    {
        let ran = script(&place, "-rm", &format!("{read_only} $forelog {command}"));
        assert_eq!((ran.code, &*ran.text()), (0, expected), "{command}: {ran:?}");
    }
    for command in ["put demo b 2", "checkpoint demo", "prune demo"] {
        let ran = script(&place, "-rm", &format!("{read_only} $forelog {command}"));
        assert_eq!(ran.code, 5, "{command}: {ran:?}");
        assert!(ran.err.contains("Read-only file system"), "{command}: {ran:?}");
    }
    place.says(&["scan", "demo"], "a\t1\n");
}

/// A disk that runs full in the middle of an import: what was acknowledged is there, can be read while the disk is full,
/// and the rest comes in when there is room.
#[test]
fn a_small_disk() {
    let place = Place::new();
    if !has_namespaces() {
        return;
    }
    std::fs::write(place.path("input"), lines(3000)).unwrap();
    let ran = script(
        &place,
        "-rm",
        "mkdir disk && mount -t tmpfs -o size=1m none disk || exit 99
         $forelog create disk/demo --segment-bytes 262144 || exit 98
         $forelog import disk/demo input; echo \"import $?\"
         $forelog scan disk/demo | wc -l
         $forelog -q verify disk/demo | head -1
         mount -o remount,size=8m disk
         $forelog import disk/demo input > /dev/null; echo \"import $?\"
         $forelog scan disk/demo | wc -l
         $forelog -q verify disk/demo | head -1",
    );
    let text = ran.text();
    let said: Vec<&str> = text.lines().collect();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("No space left on device"), "{ran:?}");
    let [.., first, kept, verified, second, all, status] = &said[..] else { panic!("{ran:?}") };
    assert_eq!(*first, "import 5", "{ran:?}");
    assert!((100..3000).contains(&kept.parse::<u32>().unwrap()), "{ran:?}");
    assert!(["status\tclean", "status\ttorn"].contains(verified), "{ran:?}");
    assert_eq!((*second, *all, *status), ("import 0", "3000", "status\tclean"), "{ran:?}");
}

/// Somebody without the right to read, or to write, hears of the file and of the reason.
#[cfg(unix)]
#[test]
fn a_missing_permission() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let place = Place::with(&[("a", "1")]);
    if !has_namespaces() {
        return;
    }
    for (mode, file, command) in [
        ("000", "MANIFEST", "get demo a"),
        ("000", "00000000000000000001.wal", "verify demo"),
        ("444", "00000000000000000001.wal", "put demo b 2"),
        ("000", "LOCK", "put demo b 2"),
    ] {
        let path = place.path("demo").join(file);
        set_permissions(&path, Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap())).unwrap();
        // Without a user of its own in the namespace, not even root may pass over the mode.
        let ran = script(&place, "-U", &format!("$forelog {command}"));
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(ran.code, 5, "{command}: {ran:?}");
        assert!(ran.err.contains("Permission denied") && ran.err.contains(file), "{command}: {ran:?}");
    }
    place.says(&["scan", "demo"], "a\t1\n");
}

/// A store that is reached through a link is that store.
#[cfg(unix)]
#[test]
fn a_link_to_a_store() {
    let place = Place::with(&[("a", "1")]);
    std::os::unix::fs::symlink("demo", place.path("link")).unwrap();
    place.ok(&["put", "link", "b", "2"]);
    place.says(&["scan", "demo"], "a\t1\nb\t2\n");
    std::fs::remove_dir_all(place.path("demo")).unwrap();
    let error = place.fails(&["get", "link", "a"], 5, "no_store");
    assert!(error["error"].as_str().unwrap().contains("link"), "{error}");
}

/// A log of hundreds of segments is opened, read, verified and checkpointed by a process that may open thirty files.
///
/// Broken: src/wal/plan.rs: `Ok(segment) => headers.push(segment.header),` to `Ok(segment) => headers.push(std::mem::ManuallyDrop::new(segment).header),`
#[cfg(unix)]
#[test]
fn more_segments_than_descriptors() {
    let place = Place::new();
    place.ok(&["create", "demo", "--segment-bytes", "8192", "--retention", "any(count:1000)"]);
    let imported = place.run_with(&["import", "demo", "-", "--batch", "2"], lines(2000).as_bytes());
    assert_eq!(imported.code, 0, "{imported:?}");
    let count = std::fs::read_dir(place.path("demo")).unwrap().count();
    assert!(count > 200, "{count} files");
    for (command, lines) in [
        ("scan demo", 2000),
        // More on a machine so slow that the log fell idle in between.
        ("log demo --from-lsn 990", 25),
        ("-q verify demo", 2),
        ("checkpoint demo", 1),
        ("backup demo copy", 1),
        ("get copy key00777", 1),
    ] {
        let ran = script(&place, "", &format!("ulimit -n 30; $forelog {command}"));
        assert_eq!(ran.code, 0, "{command}: {}", ran.err);
        assert!(ran.text().lines().count() >= lines, "{command}: {}", ran.err);
    }
}
