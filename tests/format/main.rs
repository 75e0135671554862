//! Holds `docs/FORMAT.md` against the code: its tables, its worked example, and that it is enough to read a store by.
//!
//! The page is taken apart as text. What it says is put together again by hand and compared with what the encoders and
//! the engine write. `page_reader` knows the page only, not the crate's own decoders.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod anatomy;
mod page_reader;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forelog::format::checkpoint::{BlockHeader, BlockKind, PartFooter, PartHeader};
use forelog::format::checksum::Digest;
use forelog::format::manifest::{
    Checkpoint, MANIFEST_HEADER_BYTES, MAX_MANIFEST_BYTES, Manifest, Parent, Part, PersistedOptions,
};
use forelog::format::record::{RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use forelog::format::seal::{SEAL_BYTES, Seal};
use forelog::format::segment::{MIN_SEGMENT_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, max_payload_bytes};
use forelog::format::{Checksum, FORMAT_VERSION, KeyspaceId, MAX_KEY_BYTES, Op, StoreId};
use forelog::options::MAX_SEGMENT_BYTES;
use forelog::storage::SimDisk;
use forelog::wal::LogReader;
use forelog::{Lsn, Options, WriteBatch};

use page_reader::{crc32, placed, read_keys, read_log};

const PAGE: &str = include_str!("../../docs/FORMAT.md");

/// The rows of the table whose first column has this title, behind this heading. Cells without backticks.
fn table(heading: &str, title: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("# {heading}\n")).unwrap();
    let section = section.split("\n#").next().unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let is_title = |line: &&str| line.starts_with('|') && cells(line)[0] == title;
    let lines = section.lines().skip_while(|line| !is_title(line));
    let rows: Vec<_> = lines.skip(2).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "{heading} has no table with {title}");
    rows
}

/// Puts the fields of a layout together as the page says, without gaps.
fn compose(heading: &str, values: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut used = 0;
    for row in table(heading, "offset") {
        let (offset, len): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        assert_eq!(offset, bytes.len(), "{heading}: {}", row[2]);
        match values.iter().find(|(name, _)| *name == row[2]) {
            Some((name, value)) => {
                assert_eq!(value.len(), len, "{heading}: {name}");
                bytes.extend_from_slice(value);
                used += 1;
            }
            None => {
                assert!(row[2] == "reserved" || row[2] == "flags", "{heading}: {}", row[2]);
                bytes.resize(offset + len, 0);
            }
        }
    }
    assert_eq!(used, values.len(), "{heading}: a field is not on the page");
    bytes
}

fn varint(number: u64) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    match number {
        0..=250 => vec![bytes[0]],
        251..=0xffff => [&[0xfb], &bytes[..2]].concat(),
        0x1_0000..=0xffff_ffff => [&[0xfc], &bytes[..4]].concat(),
        _ => [&[0xfd], &bytes[..]].concat(),
    }
}

#[test]
fn the_header_block_is_as_the_page_says() {
    // Shows that the table lays out 4096 bytes and puts each field where the encoder does.
    let header = SegmentHeader {
        store_id: StoreId(*b"0123456789abcdef"),
        base: Lsn::new(0x0102_0304_0506_0709),
        file_len: 0x1112_1314_1516_1718,
        salt: 0x2122_2324_2526_2728,
        checksum: Checksum::Xxh3,
        previous_last: Lsn::new(0x0102_0304_0506_0708),
        previous_digest: Digest(0x3132_3334_3536_3738),
        proven_to: Lsn::new(0x4142_4344_4546_4748),
        created_us: 0x5152_5354_5556_5758,
        cut: 0x6162_6364_6566_6768,
    };
    let numbers = [
        header.base.get(),
        header.file_len,
        header.salt,
        header.previous_last.get(),
        header.previous_digest.0,
        header.proven_to.get(),
        header.created_us,
        header.cut,
    ]
    .map(u64::to_le_bytes);
    let compose = |crc: u32| {
        compose(
            "Header block",
            &[
                ("magic", b"FORELOG\n"),
                ("format_version", &FORMAT_VERSION.to_le_bytes()),
                ("header_bytes", &4096_u32.to_le_bytes()),
                ("store_id", &header.store_id.0),
                ("base", &numbers[0]),
                ("file_len", &numbers[1]),
                ("salt", &numbers[2]),
                ("checksum", &[3]),
                ("previous_last", &numbers[3]),
                ("previous_digest", &numbers[4]),
                ("proven_to", &numbers[5]),
                ("created_us", &numbers[6]),
                ("cut", &numbers[7]),
                ("crc", &crc.to_le_bytes()),
            ],
        )
    };
    let block = compose(crc32(&[&compose(0)[..4092]]));
    assert_eq!(block.len(), SEGMENT_HEADER_BYTES);
    assert_eq!(block, header.encode());
}

#[test]
fn record_header_and_seal_are_as_the_page_says() {
    // Shows that both tables have the right length and put each field, and the checksum, where the encoders do.
    let (salt, offset) = (0x8182_8384_8586_8788, 4104);
    let header = RecordHeader {
        payload_len: 0x0102_0304,
        lsn: Lsn::new(0x1112_1314_1516_1718),
        durable_lsn: Lsn::new(0x1112_1314_1516_1717),
        time_us: 0x2122_2324_2526_2728,
        payload_checksum: 0x3132_3334_3536_3738,
        kind: RecordKind::CloseMark,
    };
    let compose_header = |crc: u32| {
        compose(
            "Record header",
            &[
                ("header_crc", &crc.to_le_bytes()),
                ("payload_len", &header.payload_len.to_le_bytes()),
                ("lsn", &header.lsn.get().to_le_bytes()),
                ("durable_lsn", &header.durable_lsn.get().to_le_bytes()),
                ("time_us", &header.time_us.to_le_bytes()),
                ("payload_checksum", &header.payload_checksum.to_le_bytes()),
                ("kind", &[3]),
            ],
        )
    };
    let bytes = compose_header(placed(salt, offset, &compose_header(0)[4..48]));
    assert_eq!(bytes.len(), RECORD_HEADER_BYTES);
    assert_eq!(bytes, header.encode(salt, offset));

    let seal = Seal { last_lsn: Lsn::new(0x0102_0304_0506_0708), digest: Digest(!7), records: 9 };
    let compose_seal = |crc: u32| {
        compose(
            "Seal",
            &[
                ("magic", b"FORESEAL"),
                ("last_lsn", &seal.last_lsn.get().to_le_bytes()),
                ("digest", &seal.digest.0.to_le_bytes()),
                ("records", &seal.records.to_le_bytes()),
                ("crc", &crc.to_le_bytes()),
            ],
        )
    };
    let bytes = compose_seal(placed(salt, offset, &compose_seal(0)[..32]));
    assert_eq!(bytes.len(), SEAL_BYTES);
    assert_eq!(bytes, seal.encode(salt, offset));
}

#[test]
fn the_manifest_is_as_the_page_says() {
    // Shows that header and body, in the order and the forms of the tables, are what the encoder writes.
    let parent = Parent { store_id: StoreId(*b"fedcba9876543210"), fork_lsn: 250 };
    let part = Part { bytes: 300, entries: 2, digest: 1 << 40 };
    let manifest = Manifest {
        store_id: StoreId(*b"0123456789abcdef"),
        parent: Some(parent),
        generation: 7,
        first_segment: Lsn::new(251),
        durable_lsn: Lsn::new(u64::MAX),
        archived: Lsn::new(250),
        checkpoints: vec![Checkpoint { lsn: 251, generation: 6, time_us: 9, parts: vec![part] }],
        options: PersistedOptions {
            segment_bytes: 64 << 20,
            checksum: Checksum::Crc32c,
            checkpoint_after_bytes: Some(1000),
            keep_checkpoints: 2,
            retention: "any(count:8)".parse().unwrap(),
            archive: None,
        },
    };
    let varints =
        |numbers: &[u64]| -> Vec<u8> { numbers.iter().flat_map(|number| varint(*number)).collect() };
    let mut body = Vec::new();
    for row in table("Manifest", "body field") {
        body.extend(match row[0].as_str() {
            "store_id" => manifest.store_id.0.to_vec(),
            "parent" => [&[1][..], b"fedcba9876543210", &varint(250)].concat(),
            "generation" => varint(manifest.generation),
            "first_segment" => varint(manifest.first_segment.get()),
            "durable_lsn" => varint(manifest.durable_lsn.get()),
            "checkpoints" => varints(&[1, 251, 6, 9, 1, 300, 2, 1 << 40]),
            "segment_bytes" => varint(manifest.options.segment_bytes),
            "checksum" => vec![2],
            "checkpoint_after_bytes" => [vec![1], varint(1000)].concat(),
            "keep_checkpoints" => varint(2),
            "retention" => [&varint(12)[..], b"any(count:8)"].concat(),
            "archive" => vec![0],
            "archived" => varint(manifest.archived.get()),
            other => panic!("{other}"),
        });
    }
    let compose = |crc: u32| {
        compose(
            "Manifest",
            &[
                ("magic", b"FOREMANI"),
                ("format_version", &FORMAT_VERSION.to_le_bytes()),
                ("body_len", &(body.len() as u32).to_le_bytes()),
                ("body_crc", &crc32(&[&body]).to_le_bytes()),
                ("header_crc", &crc.to_le_bytes()),
            ],
        )
    };
    let header = compose(crc32(&[&compose(0)[..20]]));
    assert_eq!(header.len(), MANIFEST_HEADER_BYTES);
    assert_eq!([header, body].concat(), manifest.encode());
}

#[test]
fn the_parts_of_a_checkpoint_are_as_the_page_says() {
    // Shows that header, block header and footer have the right length and put each field where the encoders do.
    let (salt, offset) = (0x8182_8384_8586_8788_u64, 4104);
    let header = PartHeader {
        store_id: StoreId(*b"0123456789abcdef"),
        lsn: Lsn::new(0x0102_0304_0506_0709),
        salt,
        part: 0x1112_1314,
        parts: 0x2122_2324,
        checksum: Checksum::Crc32c,
    };
    let compose_header = |crc: u32| {
        compose(
            "Part header",
            &[
                ("magic", b"FORECKPT"),
                ("format_version", &FORMAT_VERSION.to_le_bytes()),
                ("header_bytes", &64_u32.to_le_bytes()),
                ("store_id", &header.store_id.0),
                ("lsn", &header.lsn.get().to_le_bytes()),
                ("salt", &salt.to_le_bytes()),
                ("part", &header.part.to_le_bytes()),
                ("parts", &header.parts.to_le_bytes()),
                ("checksum", &[2]),
                ("crc", &crc.to_le_bytes()),
            ],
        )
    };
    assert_eq!(compose_header(crc32(&[&compose_header(0)[..60]])), header.encode());

    let block = BlockHeader {
        body_bytes: 0x2122_2324_2526_2728,
        body_checksum: 0x3132_3334_3536_3738,
        keyspace: KeyspaceId(0x4142_4344),
        entries: 0x5152_5354,
        kind: BlockKind::Keyspaces,
    };
    let compose_block = |crc: u32| {
        compose(
            "Block header",
            &[
                ("crc", &crc.to_le_bytes()),
                ("keyspace", &block.keyspace.0.to_le_bytes()),
                ("body_bytes", &block.body_bytes.to_le_bytes()),
                ("body_checksum", &block.body_checksum.to_le_bytes()),
                ("entries", &block.entries.to_le_bytes()),
                ("kind", &[2]),
            ],
        )
    };
    let bytes = compose_block(placed(salt, offset, &compose_block(0)[4..]));
    assert_eq!(bytes, block.encode(salt, offset));

    let footer = PartFooter { blocks: 0x0102_0304, entries: 0x1112_1314, digest: Digest(!7) };
    let compose_footer = |crc: u32| {
        compose(
            "Footer",
            &[
                ("magic", b"FOREDONE"),
                ("blocks", &footer.blocks.to_le_bytes()),
                ("entries", &footer.entries.to_le_bytes()),
                ("digest", &footer.digest.0.to_le_bytes()),
                ("crc", &crc.to_le_bytes()),
            ],
        )
    };
    let bytes = compose_footer(placed(salt, offset, &compose_footer(0)[..36]));
    assert_eq!(bytes, footer.encode(salt, offset));
}

#[test]
fn the_numbers_are_as_the_page_says() {
    // Shows that kinds, checksums, operations, varints and limits of the tables are those of the code.
    for (row, kind) in table("Record header", "kind").iter().zip([
        RecordKind::Data,
        RecordKind::SyncMark,
        RecordKind::CloseMark,
    ]) {
        assert_eq!(row[..2], [kind.tag().to_string(), kind.name().to_owned()]);
    }
    for (row, checksum) in table("Checksums", "number").iter().zip(Checksum::ALL) {
        assert_eq!(row[1], checksum.name());
        assert_eq!(row[3], format!("{:08x}", checksum.of(b"123456789")));
    }
    let encoded = |op: Op<'_>| {
        let mut bytes = Vec::new();
        op.append_to(&mut bytes);
        bytes
    };
    let keyspace = KeyspaceId(300);
    for (row, op, operands) in [
        (0, Op::Put { keyspace, key: b"key", value: b"value" }, &b"\xfb\x2c\x01\x03key\x05value"[..]),
        (1, Op::Delete { keyspace, key: b"key" }, b"\xfb\x2c\x01\x03key"),
        (2, Op::CreateKeyspace { id: keyspace, name: "name" }, b"\xfb\x2c\x01\x04name"),
        (3, Op::DropKeyspace { id: keyspace }, b"\xfb\x2c\x01"),
    ] {
        let number: u8 = table("Batch", "op")[row][0].parse().unwrap();
        assert_eq!(encoded(op), [&[number], operands].concat());
    }
    for number in [0, 250, 251, 0xffff, 0x1_0000, u32::MAX] {
        let bytes = encoded(Op::Delete { keyspace: KeyspaceId(number), key: b"" });
        assert_eq!(bytes, [&[1], &varint(u64::from(number))[..], &[0]].concat());
    }

    let limits = table("Limits", "what");
    assert_eq!(limits[0][1], format!("{MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}"));
    assert_eq!(limits[2][1], format!("at most {MAX_KEY_BYTES}"));
    assert_eq!(limits[3][1], format!("at most {MAX_MANIFEST_BYTES}"));
    assert!(limits[1][1].ends_with(&u32::MAX.to_string()), "{}", limits[1][1]);
    for file_len in [8192, 8195, 1 << 20, 64 << 30] {
        let longest = ((file_len - 4096 - 40) / 8 * 8 - 48).min(u64::from(u32::MAX));
        assert_eq!(max_payload_bytes(file_len), longest);
    }
}

type Files = page_reader::Files;

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The store of the worked example.
fn example() -> Files {
    let disk = SimDisk::new(1);
    disk.set_clock_us(1_700_000_000_000_000);
    let options =
        Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None).spare_ahead(false);
    let db = options.open("data").unwrap();
    db.put("user:1", "alice").unwrap();
    let mut batch = WriteBatch::new();
    batch.put("user:2", "bob");
    batch.delete("user:1");
    db.write(batch).unwrap();
    db.close().unwrap();
    disk.files().iter().map(|path| (file_name(path), disk.read_file(path).unwrap())).collect()
}

#[test]
fn the_worked_example_is_what_the_code_writes() {
    // Shows that each byte of the example stands in the files of a store made so, and that all others are zero.
    let mut files = example();
    assert_eq!(files.remove("LOCK").as_deref(), Some(&[][..]));
    for (name, written) in files {
        let (_, block) = PAGE.split_once(&format!("```hex {name}\n")).unwrap();
        let mut shown = vec![0; written.len()];
        for line in block.split("```").next().unwrap().lines() {
            let mut parts = line.split('|').map(str::trim);
            let offset: usize = parts.next().unwrap().parse().unwrap();
            let hex = parts.next().unwrap().split(' ');
            let bytes: Vec<u8> = hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            let actual = &written[offset..offset + bytes.len()];
            assert_eq!(bytes, actual, "{name} at {offset}; the code writes {actual:02x?}");
            shown[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        let missing = (0..written.len()).find(|at| shown[*at] != written[*at]);
        assert_eq!(missing, None, "{name}: a byte is not shown");
    }
}

#[test]
fn the_page_is_enough_to_read_a_store() {
    // Shows that the page's reader finds in each golden directory what the crate's own reader finds, the torn end included.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let mut dirs: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    assert_eq!(
        dirs.iter().map(|dir| file_name(dir)).collect::<Vec<_>>(),
        ["checkpoint", "clean", "cut", "dropped", "torn"]
    );
    for dir in dirs {
        let paths = fs::read_dir(dir.join("data")).unwrap().map(|entry| entry.unwrap().path());
        let files: Files = paths.map(|path| (file_name(&path), fs::read(&path).unwrap())).collect();
        let disk = SimDisk::new(1);
        files.iter().for_each(|(name, bytes)| disk.write_file(format!("data/{name}"), bytes));

        let by_crate = LogReader::open_on(Arc::new(disk.clone()), "data").unwrap();
        let by_crate: Vec<_> =
            by_crate.map(|r| r.unwrap()).map(|r| (r.lsn.get(), r.kind.tag(), r.payload)).collect();
        let (by_page, torn) = read_log(&files);
        assert!(by_crate.len() > 1 && by_page == by_crate, "{}", dir.display());
        assert_eq!(torn, file_name(&dir) == "torn");

        if files.contains_key("MANIFEST") {
            let options = Options::new().storage(Arc::new(disk)).read_only(true);
            let db = options.open("data").unwrap();
            let mut keys = BTreeMap::new();
            for name in db.keyspaces() {
                for entry in db.keyspace(&name).unwrap().iter() {
                    keys.insert((name.clone(), entry.key().to_vec()), entry.value().to_vec());
                }
            }
            assert_eq!(read_keys(&files, &by_page), keys, "{}", dir.display());
        }
    }
}
