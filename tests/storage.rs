//! Every disk keeps the contract of `Storage`: one list of checks runs on each of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

use std::io::{self, ErrorKind};
use std::path::Path;

use forelog::storage::{Access, MemoryDisk, RealDisk, SimDisk, Storage, read_full_at, write_all_at};

/// What the checks below have in common: a disk and an empty directory on it.
struct Place<'a> {
    disk: &'a dyn Storage,
    root: &'a Path,
}

type Check = fn(&Place<'_>) -> io::Result<()>;

/// Runs all checks, each in a directory of its own.
fn check(disk: &dyn Storage, root: &Path) {
    let checks: [(&str, Check); 10] = [
        ("names", names),
        ("missing", missing),
        ("bytes", bytes),
        ("hints", hints),
        ("lengths", lengths),
        ("handles", handles),
        ("renames", renames),
        ("locks", locks),
        ("offsets", offsets),
        ("directories", directories),
    ];
    for (name, run) in checks {
        let root = root.join(name);
        disk.create_dir(&root).unwrap();
        run(&Place { disk, root: &root }).unwrap_or_else(|error| panic!("{name} on {disk:?}: {error}"));
    }
}

/// The error kind of a call that must fail.
fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn real_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    check(&RealDisk, dir.path());
}

#[test]
fn memory_disk_keeps_the_contract() {
    check(&MemoryDisk::new(), Path::new(""));
}

#[test]
fn simulated_disk_keeps_the_contract() {
    let disk = SimDisk::new(1);
    disk.set_quota(u64::MAX);
    check(&disk, Path::new(""));
}

/// The empty path is the directory that relative names are in.
#[test]
fn the_empty_path_is_here() {
    for disk in [&RealDisk as &dyn Storage, &MemoryDisk::new(), &SimDisk::new(1)] {
        disk.sync_dir(Path::new("")).unwrap();
        disk.list(Path::new("")).unwrap();
    }
}

/// That a sync follows is a hint: whatever is said, the bytes stay what they are, and the file takes more.
fn hints(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let file = disk.create(&root.join("file"))?;
    file.allocate(20_000)?;
    write_all_at(&*file, &[1; 10_000], 0)?;
    file.start_write_out(0, 10_000);
    write_all_at(&*file, &[2; 100], 9_950)?;
    for (offset, len) in [(9_950, 100), (0, 0), (19_999, 1), (30_000, 1), (u64::MAX, u64::MAX)] {
        file.start_write_out(offset, len);
    }
    // What is to come reads as zeros and goes on doing so, up to where the file ends.
    for (offset, len) in [(10_100, 50), (12_000, 5_000), (19_999, 500), (20_000, 1), (u64::MAX, u64::MAX)] {
        file.expect_writes(offset, len);
    }
    assert_eq!(file.len()?, 20_000);
    file.sync_data()?;
    let mut found = [9; 20_000];
    assert_eq!(read_full_at(&*file, &mut found, 0)?, 20_000);
    let expected = [vec![1; 9_950], vec![2; 100], vec![0; 9_950]].concat();
    assert_eq!(found[..], expected[..]);
    Ok(())
}

fn names(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    for name in ["b", "c", "a", "a.x"] {
        disk.create(&root.join(name))?;
    }
    disk.create_dir(&root.join("d"))?;
    disk.create(&root.join("d/inside"))?;
    assert_eq!(disk.list(root)?, ["a", "a.x", "b", "c", "d"], "sorted, and one level only");
    assert_eq!(kind(disk.create(&root.join("a"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create_dir(&root.join("a"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create_dir(&root.join("d"))), ErrorKind::AlreadyExists);
    disk.remove(&root.join("b"))?;
    assert_eq!(disk.list(&root.join("./d/../"))?, ["a", "a.x", "c", "d"]);
    Ok(())
}

fn missing(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let (gone, deep) = (root.join("gone"), root.join("gone/deep"));
    disk.create(&root.join("file"))?;
    for path in [&gone, &deep] {
        assert_eq!(kind(disk.open(path, Access::ReadWrite)), ErrorKind::NotFound);
        assert_eq!(kind(disk.remove(path)), ErrorKind::NotFound);
        assert_eq!(kind(disk.rename(path, &root.join("new"))), ErrorKind::NotFound);
        assert_eq!(kind(disk.list(path)), ErrorKind::NotFound);
        assert_eq!(kind(disk.sync_dir(path)), ErrorKind::NotFound);
        assert_eq!(kind(disk.lock(path, false)), ErrorKind::NotFound, "a shared lock creates nothing");
    }
    assert_eq!(kind(disk.create(&deep)), ErrorKind::NotFound);
    assert_eq!(kind(disk.create_dir(&deep)), ErrorKind::NotFound);
    assert_eq!(kind(disk.lock(&deep, true)), ErrorKind::NotFound);
    assert_eq!(kind(disk.rename(&root.join("file"), &deep)), ErrorKind::NotFound);
    assert_eq!(kind(disk.create(&root.join("file/below"))), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.open(&root.join("file/below"), Access::Read)), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.list(&root.join("file"))), ErrorKind::NotADirectory);
    assert_eq!(disk.list(root)?, ["file"]);
    Ok(())
}

fn bytes(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let file = disk.create(&root.join("file"))?;
    let text: Vec<u8> = (0..10_000_u32).map(|at| (at % 251) as u8).collect();
    write_all_at(&*file, &text, 1000)?;
    assert_eq!(file.len()?, 11_000, "a write beyond the end extends");
    let mut all = vec![9; 20_000];
    assert_eq!(read_full_at(&*file, &mut all, 0)?, 11_000);
    assert!(all[..1000].iter().all(|byte| *byte == 0), "the gap reads as zeros");
    assert_eq!(all[1000..11_000], text);
    assert!(all[11_000..].iter().all(|byte| *byte == 9), "nothing is touched beyond the end");

    write_all_at(&*file, b"over", 5000)?;
    assert_eq!(read_full_at(&*file, &mut all[..6], 4999)?, 6);
    assert_eq!(all[..6], [text[3999], b'o', b'v', b'e', b'r', text[4004]]);
    assert_eq!(file.read_at(&mut all, 11_000)?, 0, "at the end");
    assert_eq!(file.read_at(&mut all, 1 << 40)?, 0, "past the end");
    assert_eq!(file.read_at(&mut [], 0)?, 0);
    assert_eq!(file.write_at(&[], 1 << 40)?, 0);
    assert_eq!(file.len()?, 11_000, "writing nothing extends nothing");
    file.sync_data()?;
    file.sync_all()?;
    disk.sync_dir(root)
}

fn lengths(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let file = disk.create(&root.join("file"))?;
    let mut text = [9; 3];
    assert!(file.is_empty()?);
    file.allocate(10_000)?;
    file.allocate(5_000)?;
    assert_eq!(file.len()?, 10_000, "allocating never cuts");
    write_all_at(&*file, &[7; 10_000], 0)?;
    for cut in [9_000, 4_097, 4_096, 4_095, 512, 100, 1, 0] {
        file.set_len(cut)?;
        assert_eq!(file.len()?, cut);
        file.set_len(10_000)?;
        let mut all = [9; 10_000];
        assert_eq!(read_full_at(&*file, &mut all, 0)?, 10_000);
        let kept = usize::try_from(cut).unwrap();
        assert!(all[..kept].iter().all(|byte| *byte == 7), "cut at {cut}");
        assert!(all[kept..].iter().all(|byte| *byte == 0), "what was cut comes back as zeros: {cut}");
    }
    write_all_at(&*file, b"far", 5_000)?;
    file.set_len(1_000)?;
    file.set_len(10_000)?;
    assert_eq!(read_full_at(&*file, &mut text, 5_000)?, 3);
    assert_eq!(&text, &[0; 3], "also what was cut far behind the new end");
    file.set_len(1 << 40)?;
    assert_eq!(file.read_at(&mut [9; 10], (1 << 40) - 3)?, 3, "a huge sparse file costs nothing");
    file.set_len(0)
}

fn handles(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let path = root.join("file");
    let file = disk.create(&path)?;
    write_all_at(&*file, b"one", 0)?;
    let reader = disk.open(&path, Access::Read)?;
    assert!(reader.write_at(b"x", 0).is_err(), "opened for reading");
    assert!(reader.set_len(0).is_err());
    write_all_at(&*disk.open(&path, Access::ReadWrite)?, b"two", 0)?;
    let mut text = [0; 3];
    assert_eq!(read_full_at(&*reader, &mut text, 0)?, 3);
    assert_eq!(&text, b"two", "handles share one file");

    disk.remove(&path)?;
    let second = disk.create(&path)?;
    disk.sync_dir(root)?;
    assert_eq!(
        read_full_at(&*reader, &mut text, 0)?,
        3,
        "syncing its removal takes nothing from whoever has it open"
    );
    write_all_at(&*file, b"old", 0)?;
    read_full_at(&*reader, &mut text, 0)?;
    assert_eq!(&text, b"old", "a removed file works on for those who have it open");
    assert!(second.is_empty()?, "and its name is free for another");
    file.sync_all()
}

fn renames(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let (a, b) = (root.join("a"), root.join("b"));
    write_all_at(&*disk.create(&a)?, b"A", 0)?;
    let replaced = disk.create(&b)?;
    write_all_at(&*replaced, b"B", 0)?;
    disk.rename(&a, &b)?;
    assert_eq!(disk.list(root)?, ["b"]);
    let mut text = [0];
    read_full_at(&*disk.open(&b, Access::Read)?, &mut text, 0)?;
    assert_eq!(&text, b"A");
    read_full_at(&*replaced, &mut text, 0)?;
    assert_eq!(&text, b"B", "whoever had the replaced file open still has it");
    disk.rename(&b, &b)?;
    assert_eq!(disk.list(root)?, ["b"], "onto itself: nothing happens");

    disk.create_dir(&root.join("d"))?;
    assert_eq!(kind(disk.rename(&b, &root.join("d"))), ErrorKind::IsADirectory);
    disk.rename(&b, &root.join("d/c"))?;
    assert_eq!((disk.list(root)?, disk.list(&root.join("d"))?), (vec!["d".into()], vec!["c".into()]));
    Ok(())
}

fn locks(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let path = root.join("LOCK");
    let exclusive = disk.lock(&path, true)?;
    assert_eq!(disk.list(root)?, ["LOCK"], "an exclusive lock creates its file");
    assert_eq!(kind(disk.lock(&path, true)), ErrorKind::WouldBlock);
    assert_eq!(kind(disk.lock(&path, false)), ErrorKind::WouldBlock);
    drop(exclusive);
    let shared = [disk.lock(&path, false)?, disk.lock(&path, false)?];
    assert_eq!(kind(disk.lock(&path, true)), ErrorKind::WouldBlock);
    let [one, two] = shared;
    drop(one);
    assert_eq!(kind(disk.lock(&path, true)), ErrorKind::WouldBlock);
    drop(two);
    disk.lock(&path, true)?;
    disk.lock(&path, true)?;
    Ok(())
}

fn offsets(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let file = disk.create(&root.join("file"))?;
    for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
        assert_eq!(kind(file.read_at(&mut [0; 8], offset)), ErrorKind::InvalidInput);
        assert_eq!(kind(file.write_at(&[1; 8], offset)), ErrorKind::InvalidInput);
        assert_eq!(kind(file.set_len(offset)), ErrorKind::InvalidInput);
        assert_eq!(kind(file.allocate(offset)), ErrorKind::InvalidInput);
    }
    assert!(file.write_at(&[1; 8], (1 << 63) - 2).is_err());
    assert_eq!(kind(file.read_at(&mut [0; 8], (1 << 63) - 2)), ErrorKind::InvalidInput);
    assert_eq!(file.read_at(&mut [0; 8], (1 << 63) - 9)?, 0);
    assert!(file.is_empty()?);
    Ok(())
}

fn directories(Place { disk, root }: &Place<'_>) -> io::Result<()> {
    let dir = root.join("d");
    disk.create_dir(&dir)?;
    assert_eq!(kind(disk.remove(&dir)), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.open(&dir, Access::ReadWrite)), ErrorKind::IsADirectory);
    assert_eq!(disk.list(&dir)?, [""; 0]);
    disk.sync_dir(&dir)?;
    assert!(disk.now_us() > 1_600_000_000_000_000, "microseconds");
    assert_ne!(disk.random_u64(), disk.random_u64());
    Ok(())
}
