//! The outcomes of a power cut against naive models: none is illegal, and all legal ones can be had.
//!
//! The models share nothing with the code: a byte array per moment, and a map from names to letters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::super::super::Storage;
use super::super::{CrashPoint, Outcome, OutcomeLimits, SimDisk};
use super::{file, files, found, write};

const LIMITS: OutcomeLimits =
    OutcomeLimits { all_subsets: 16, single_changes: 99, torn_positions: usize::MAX, random_subsets: 40 };

/// A file of two sectors, as it was after each write: (bytes, with zeros beyond the length; length).
type History = Vec<([u8; 1024], usize)>;

/// Writes into a file of 700 bytes, unsynced, the last one under way.
fn written(writes: &[(usize, usize, u8)]) -> (CrashPoint, History) {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", &[1; 700]);
    disk.record();
    let (mut bytes, mut len) = ([0; 1024], 700);
    bytes[..700].fill(1);
    let mut history = vec![(bytes, len)];
    for (offset, count, value) in writes {
        write(&file, &vec![*value; *count], *offset as u64);
        bytes[*offset..offset + count].fill(*value);
        len = len.max(offset + count);
        history.push((bytes, len));
    }
    (disk.take_crash_points().pop().unwrap(), history)
}

/// True if the image may be found when no sector is torn.
fn is_whole(image: &[u8], history: &History) -> bool {
    let sector = |from: usize| {
        let (from, to) = (from.min(image.len()), (from + 512).min(image.len()));
        history.iter().any(|(bytes, _)| image[from..to] == bytes[from..to])
    };
    history.iter().any(|(_, len)| image.len() == *len) && sector(0) && sector(512)
}

/// True if the image may be found at all: bytes that never changed are as they were.
fn is_legal(image: &[u8], history: &History) -> bool {
    let lens = || history.iter().map(|(_, len)| *len);
    let (shortest, longest) = (lens().min().unwrap(), lens().max().unwrap());
    let untouched = |(at, byte): (usize, &u8)| {
        let first = history[0].0[at];
        history.iter().any(|(bytes, _)| bytes[at] != first) || *byte == first
    };
    (shortest..=longest).contains(&image.len()) && image.iter().enumerate().all(untouched)
}

fn image(point: &CrashPoint, outcome: &Outcome) -> Vec<u8> {
    point.apply(outcome).read_file("f").unwrap()
}

fn any_writes() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    let write = (0..1024_usize, 1..600_usize, 0..4_u8);
    prop::collection::vec(write.prop_map(|(at, count, value)| (at, count.min(1024 - at), value)), 1..4)
}

proptest! {
    /// Every outcome of up to three random writes is legal; those that tear nothing hold whole sectors.
    #[test]
    fn no_outcome_is_illegal(writes in any_writes(), seed: u64) {
        let (point, history) = written(&writes);
        let outcomes: Vec<Outcome> = point.outcomes(&LIMITS, seed).collect();
        prop_assert!(outcomes.contains(&Outcome::None) && outcomes.contains(&Outcome::All));
        prop_assert_eq!(image(&point, &Outcome::None), &history[0].0[..700]);
        let (bytes, len) = history.last().unwrap();
        prop_assert_eq!(image(&point, &Outcome::All), &bytes[..*len]);
        for outcome in outcomes {
            let image = image(&point, &outcome);
            let legal = match outcome {
                Outcome::Torn { .. } | Outcome::Random { .. } => is_legal(&image, &history),
                _ => is_whole(&image, &history),
            };
            prop_assert!(legal, "{:?} at {}", outcome, point);
        }
    }

    /// Every combination of sector contents and lengths is among the outcomes.
    #[test]
    fn no_whole_image_is_missing(writes in any_writes()) {
        let (point, history) = written(&writes);
        let had: BTreeSet<Vec<u8>> = point.outcomes(&LIMITS, 1).map(|outcome| image(&point, &outcome)).collect();
        for (low, _) in &history {
            for (high, _) in &history {
                for (_, len) in &history {
                    let image = [&low[..512], &high[512..*len]].concat();
                    prop_assert!(had.contains(&image));
                }
            }
        }
    }

    /// The write under way is torn behind each byte where that makes a difference.
    #[test]
    fn no_tear_is_missing(writes in any_writes()) {
        let (point, history) = written(&writes);
        let had: BTreeSet<Vec<u8>> = point.outcomes(&LIMITS, 1).map(|outcome| image(&point, &outcome)).collect();
        let [.., (before, before_len), (after, _)] = &history[..] else { unreachable!("two states at least") };
        let (offset, count, _) = writes.last().unwrap();
        for end in *offset + 1..=offset + count {
            let mut image = *before;
            image[*offset..end].copy_from_slice(&after[*offset..end]);
            prop_assert!(had.contains(&image[..end.max(*before_len)]), "torn before byte {}", end);
        }
    }

    /// Of the unsynced creates, renames and removes any subset happens, each whole and in order.
    #[test]
    fn names_survive_in_any_subset(steps in prop::collection::vec((0..3_u8, 0..3_usize, 0..3_usize), 1..5)) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let disk = SimDisk::new(1);
        let mut tree = BTreeMap::new();
        file(&disk, "a", b"1");
        tree.insert("a", "1");
        let durable = tree.clone();
        let mut edits: Vec<Vec<(&str, Option<&str>)>> = Vec::new();
        for (step, one, two) in steps {
            let (one, two) = (NAMES[one], NAMES[two]);
            let edit = match step {
                0 if !tree.contains_key(one) => {
                    disk.create(Path::new(one)).unwrap();
                    vec![(one, Some(""))]
                }
                1 if tree.contains_key(one) => {
                    disk.rename(Path::new(one), Path::new(two)).unwrap();
                    vec![(one, None), (two, tree.get(one).copied())]
                }
                2 if tree.contains_key(one) => {
                    disk.remove(Path::new(one)).unwrap();
                    vec![(one, None)]
                }
                _ => continue,
            };
            make(&mut tree, &edit);
            edits.push(edit);
        }
        prop_assert_eq!(files(&disk), text(&tree));
        let mut expected = BTreeSet::new();
        for subset in 0..1_u32 << edits.len() {
            let mut tree = durable.clone();
            let kept = edits.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
            kept.for_each(|(_, edit)| make(&mut tree, edit));
            expected.insert(text(&tree));
        }
        prop_assert_eq!(BTreeSet::from_iter(found(&disk.crash_point_now())), expected);
    }

    /// Nothing that is asked of the disk makes it panic, whatever the paths, offsets and lengths.
    #[test]
    fn no_call_panics(path in "[a./]{0,5}", other in "[a./]{0,5}", offset: u64, len: u64, quota: u64) {
        let disk = SimDisk::new(1);
        disk.set_quota(quota);
        let (path, other) = (Path::new(&path), Path::new(&other));
        disk.record();
        _ = disk.create_dir(other);
        if let Ok(file) = disk.create(path) {
            for offset in [offset, offset >> 2, len, 0] {
                _ = file.write_at(&[1; 600], offset);
                _ = file.set_len(len.wrapping_add(offset));
                _ = file.read_at(&mut [0; 600], offset);
                _ = file.allocate(len);
            }
        }
        _ = disk.rename(path, other);
        _ = disk.rename(other, path);
        _ = disk.remove(other);
        _ = (disk.list(path), disk.sync_dir(path), disk.lock(path, true), disk.lock(other, false));
        for point in disk.take_crash_points() {
            for outcome in point.outcomes(&OutcomeLimits::default(), offset) {
                _ = point.apply(&outcome).fingerprint();
            }
        }
    }
}

fn make<'a>(tree: &mut BTreeMap<&'a str, &'a str>, edit: &[(&'a str, Option<&'a str>)]) {
    for (name, file) in edit {
        match file {
            Some(file) => _ = tree.insert(name, file),
            None => _ = tree.remove(name),
        }
    }
}

fn text(tree: &BTreeMap<&str, &str>) -> String {
    let files: Vec<String> = tree.iter().map(|(name, bytes)| format!("{name}={bytes}")).collect();
    files.join(" ")
}
