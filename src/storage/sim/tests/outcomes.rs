//! Crash points and their outcomes: complete, repeatable, and told apart.

use std::collections::HashSet;
use std::path::Path;

use super::super::super::Storage;
use super::super::{Outcome, OutcomeLimits, Rest, SimDisk};
use super::{file, files, found, write};

fn path(path: &str) -> &Path {
    Path::new(path)
}

/// The short names of subsets mean what they say.
#[test]
fn outcomes_name_their_subsets() {
    let disk = SimDisk::new(1);
    for name in ["a", "b", "c"] {
        disk.create(path(name)).unwrap();
    }
    let point = disk.crash_point_now();
    let check = |outcome, expected: &str| assert_eq!(files(&point.apply(&outcome)), expected, "{outcome:?}");
    check(Outcome::None, "");
    check(Outcome::All, "a= b= c=");
    check(Outcome::Prefix(2), "a= b=");
    check(Outcome::Missing(1), "a= c=");
    check(Outcome::Alone(1), "b=");
    check(Outcome::Subset(0b110), "b= c=");
    check(Outcome::Torn { at: 0, rest: Rest::Old }, "a= b= c=");

    let limits = OutcomeLimits { all_subsets: 2, single_changes: 9, torn_positions: 9, random_subsets: 0 };
    let listed: Vec<Outcome> = point.outcomes(&limits, 1).collect();
    let expected = [
        Outcome::None,
        Outcome::All,
        Outcome::Prefix(1),
        Outcome::Prefix(2),
        Outcome::Missing(0),
        Outcome::Missing(1),
        Outcome::Alone(1),
        Outcome::Alone(2),
    ];
    assert_eq!(listed, expected);
    let all = OutcomeLimits { all_subsets: 3, ..limits };
    assert_eq!(point.outcomes(&all, 1).count(), 8, "every subset, each once");
}

/// Beyond the limits a sample is taken: as large as they say, spread, and another one for each seed.
#[test]
fn samples_are_spread_and_seeded() {
    let disk = SimDisk::new(1);
    disk.record();
    let file = disk.create(path("f")).unwrap();
    write(&file, &[1; 9000], 0);
    let point = &disk.take_crash_points()[1];
    let limits = OutcomeLimits { all_subsets: 5, single_changes: 4, torn_positions: 10, random_subsets: 6 };
    let outcomes = |seed| point.outcomes(&limits, seed).collect::<Vec<_>>();
    assert_eq!(outcomes(1), outcomes(1));
    assert_ne!(outcomes(1), outcomes(2));
    let tears: Vec<usize> = outcomes(1)
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Torn { at, rest: Rest::Zero } => Some(*at),
            _ => None,
        })
        .collect();
    assert_eq!(tears.len(), 10);
    assert!(tears.iter().enumerate().all(|(stretch, at)| at / 900 == stretch), "{tears:?}");
    let prefixes = outcomes(1).iter().filter(|outcome| matches!(outcome, Outcome::Prefix(_))).count();
    let random = outcomes(1).iter().filter(|outcome| matches!(outcome, Outcome::Random { .. })).count();
    assert_eq!((prefixes, random), (4, 6));
}

/// Throws many coins over two sectors: each of the four whole images comes up, torn ones too, and the rest behind a
/// tear is of the sort asked for.
#[test]
fn random_outcomes_reach_everything() {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", &[b'a'; 1024]);
    write(&file, &[b'b'; 1024], 0);
    let point = disk.crash_point_now();
    let image = |seed, rest| point.apply(&Outcome::Random { seed, rest }).read_file("f").unwrap();
    let is_whole = |bytes: &[u8]| [0, 512].iter().all(|at| bytes[*at..*at + 512] == [bytes[*at]; 512]);
    for (rest, sound) in [(Rest::Old, "ab"), (Rest::Zero, "ab\0")] {
        let images: HashSet<Vec<u8>> = (0..500).map(|seed| image(seed, Some(rest))).collect();
        let whole = images.iter().filter(|image| is_whole(image)).count();
        assert!(images.len() > 50 && whole >= 4, "{whole} of {} are whole", images.len());
        assert!(images.iter().flatten().all(|byte| sound.as_bytes().contains(byte)));
        assert!(rest == Rest::Old || images.iter().flatten().any(|byte| *byte == 0));
    }
    let bytes: HashSet<u8> = (0..500).flat_map(|seed| image(seed, None)).collect();
    assert_eq!(bytes.len(), 256, "with garbage, anything");
}

/// Tears an overwrite and an append at each byte, with each sort of rest.
#[test]
fn a_write_under_way_tears_at_any_byte() {
    let check = |bytes: &[u8], offset, at, rest, expected: &str| {
        let disk = SimDisk::new(1);
        let file = file(&disk, "f", b"aaaa");
        disk.record();
        write(&file, bytes, offset);
        let torn = disk.take_crash_points()[0].apply(&Outcome::Torn { at, rest });
        assert_eq!(files(&torn), format!("f={expected}"), "{rest:?} from {at}");
    };
    check(b"bbb", 1, 0, Rest::Old, "aaaa");
    check(b"bbb", 1, 2, Rest::Old, "abba");
    check(b"bbb", 1, 3, Rest::Old, "abbb");
    check(b"bbb", 1, 9, Rest::Old, "abbb");
    check(b"bbb", 1, 0, Rest::Zero, "a\0\0\0");
    check(b"bbb", 0, 2, Rest::Zero, "bb\0a");
    // Only what changes is at risk: powersafe overwrite.
    check(b"bab", 0, 0, Rest::Zero, "\0a\0a");
    check(b"bab", 0, 0, Rest::Old, "aaaa");
    // An append makes the file longer as far as it got; zeros and garbage come with the whole length.
    check(b"bbb", 3, 2, Rest::Old, "aaabb");
    check(b"bbb", 3, 2, Rest::Zero, "aaabb\0");
}

/// Tears a write over three sectors inside the second one: before it all is new, behind it all is old.
#[test]
fn a_tear_falls_in_one_sector() {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", &[b'a'; 2048]);
    disk.record();
    write(&file, &[b'b'; 1200], 400);
    let torn = disk.take_crash_points()[0].apply(&Outcome::Torn { at: 300, rest: Rest::Old });
    let bytes = torn.read_file("f").unwrap();
    assert!(bytes[400..700].iter().all(|byte| *byte == b'b'));
    assert!(bytes[..400].iter().chain(&bytes[700..]).all(|byte| *byte == b'a'));
}

/// Garbage differs from place to place, is the same each time, and stays where bytes were changing.
#[test]
fn garbage_is_repeatable_and_stays_in_place() {
    let disk = SimDisk::new(1);
    let file = file(&disk, "f", &[b'a'; 1024]);
    disk.record();
    write(&file, &[b'b'; 600], 100);
    let point = &disk.take_crash_points()[0];
    let outcome = Outcome::Torn { at: 0, rest: Rest::Garbage };
    let bytes = point.apply(&outcome).read_file("f").unwrap();
    assert_eq!(bytes, point.apply(&outcome).read_file("f").unwrap());
    assert!(bytes[..100].iter().chain(&bytes[700..]).all(|byte| *byte == b'a'));
    assert!(HashSet::<&u8>::from_iter(&bytes[100..700]).len() > 100);
}

/// Records every sort of change and sync: the points name the call, carry the note, and hold the state before it.
#[test]
fn crash_points_tell_where_they_are() {
    let disk = SimDisk::new(1);
    disk.record();
    let file = disk.create(path("f.tmp")).unwrap();
    file.allocate(4096).unwrap();
    disk.set_note(7);
    write(&file, b"abc", 64);
    file.sync_data().unwrap();
    file.read_at(&mut [0; 8], 0).unwrap();
    disk.rename(path("f.tmp"), path("f")).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.remove(path("f")).unwrap();
    disk.create_dir(path("d")).unwrap();
    let points = disk.take_crash_points();
    let told: Vec<String> =
        points.iter().map(|point| format!("{} {}", point.note, point.describe())).collect();
    let expected = [
        "0 create f.tmp",
        "0 set length of f.tmp to 4096",
        "7 write f.tmp @64, 3 bytes",
        "7 sync f.tmp",
        "7 rename f.tmp to f",
        "7 sync directory /",
        "7 remove f",
        "7 create directory d",
    ];
    assert_eq!(told, expected);
    assert_eq!(points[3].to_string(), "operation 4 (note 7): sync f.tmp");
    assert_eq!(found(&points[0]), ["", "f.tmp="]);
    assert_eq!(found(&points[6]).len(), 2, "before the removal, or after it");
    write(&file, b"not recorded", 0);
    assert!(disk.take_crash_points().is_empty(), "recording has stopped");
}

/// Runs one script twice: all outcomes, also the random ones, come out the same; with another seed they do not.
#[test]
fn everything_follows_from_the_seed() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        disk.record();
        let file = disk.create(path("f")).unwrap();
        for at in 0..20 {
            write(&file, &disk.random_u64().to_le_bytes(), at * 300);
            write(&file, &disk.now_us().to_le_bytes(), at * 299);
        }
        let mut prints = Vec::new();
        for point in disk.take_crash_points() {
            for outcome in point.outcomes(&OutcomeLimits::default(), seed) {
                prints.push((point.to_string(), outcome, point.apply(&outcome).fingerprint()));
            }
        }
        prints
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Makes the same disk in two ways, and others that differ from it by one thing each.
#[test]
fn fingerprints_tell_disks_apart() {
    let print = |name: &str, bytes: &[u8]| {
        let disk = SimDisk::new(9);
        disk.write_file(name, bytes);
        disk.fingerprint()
    };
    let detour = SimDisk::new(1);
    file(&detour, "x", b"gone");
    file(&detour, "tmp", &[0; 600]).set_len(3).unwrap();
    detour.remove(path("x")).unwrap();
    detour.rename(path("tmp"), path("f")).unwrap();
    let detour = detour.power_cut(&Outcome::All);
    assert_eq!(detour.fingerprint(), print("f", &[0; 3]));
    let prints = [("f", &[0; 3][..]), ("g", &[0; 3]), ("f", &[0; 4]), ("f", &[0, 1, 0]), ("f/g", &[0; 3])];
    let prints: HashSet<u128> = prints.iter().map(|(name, bytes)| print(name, bytes)).collect();
    assert_eq!(prints.len(), 5);

    let disk = SimDisk::new(1);
    let open = file(&disk, "f", b"one");
    let before = disk.fingerprint();
    write(&open, b"two", 0);
    assert_eq!(disk.fingerprint(), before, "only what is durable counts");
    open.sync_all().unwrap();
    assert_ne!(disk.fingerprint(), before);
}
