//! Shows that `format::layout` is what the page says, and that `format::anatomy` labels every byte of every file, whatever
//! stands there.

use std::path::Path;
use std::sync::Arc;

use forelog::format::Checksum;
use forelog::format::anatomy::{Piece, UnknownFile, Value, dissect};
use forelog::format::checkpoint::{BLOCK_HEADER_BYTES, BlockHeader, BlockKind, PartHeader};
use forelog::format::layout::{
    BLOCK_HEADER, FOOTER, Field, Form, HEADER_BLOCK, MANIFEST_HEADER, PART_HEADER, RECORD_HEADER, SEAL,
};
use forelog::format::record::{RECORD_HEADER_BYTES, RecordHeader};
use forelog::format::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use forelog::storage::SimDisk;
use forelog::{Db, Lsn, Options, RestoreTarget, WalOptions, WriteBatch};

use super::table;

#[test]
fn the_layouts_are_those_of_the_page() {
    let layouts: [(&str, &[Field]); 7] = [
        ("Header block", HEADER_BLOCK),
        ("Record header", RECORD_HEADER),
        ("Seal", SEAL),
        ("Manifest", MANIFEST_HEADER),
        ("Part header", PART_HEADER),
        ("Block header", BLOCK_HEADER),
        ("Footer", FOOTER),
    ];
    for (heading, layout) in layouts {
        let on_page = table(heading, "offset");
        let of_layout = layout.iter().map(|field| {
            let Field { offset, bytes, name, .. } = field;
            [offset.to_string(), bytes.to_string(), (*name).to_owned()]
        });
        let on_page: Vec<_> = on_page.iter().map(|row| &row[..3]).collect();
        assert_eq!(on_page, of_layout.collect::<Vec<_>>(), "{heading}");
        for Field { offset, bytes, name, form } in layout {
            assert_eq!(*form == Form::Zeros, *name == "reserved" || *name == "flags", "{heading}: {name}");
            let is_number = matches!(form, Form::Number | Form::Hex | Form::Time | Form::Guard { .. });
            assert!(!is_number || [4, 8].contains(bytes), "{heading}: {name}");
            if let Form::Guard { from, to, .. } = form {
                assert!((*from..*to).len() >= 20 && !(*from..*to).contains(offset), "{heading}: {name}");
            }
        }
    }
}

/// A store with every kind of file, its archive, and a torn end.
fn store() -> SimDisk {
    let disk = SimDisk::new(1);
    let open = || {
        Options::new()
            .storage(Arc::new(disk.clone()))
            .segment_bytes(8192)
            .archive(Some(Path::new("archive")))
            .checkpoint_after_bytes(None)
            .open("data")
            .unwrap()
    };
    let db = open();
    let users = db.keyspace("users").unwrap();
    for number in 0..40_u32 {
        let mut batch = WriteBatch::new();
        batch.put(format!("key {number}"), vec![b'v'; 300]);
        batch.put_in(&users, number.to_le_bytes(), b"\xff");
        batch.delete("key 0");
        db.write(batch).unwrap();
    }
    db.checkpoint().unwrap();
    (0..30).for_each(|number| _ = db.put(format!("more {number}"), [b'w'; 300]).unwrap());
    db.close().unwrap();
    disk
}

fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    disk.files().iter().map(|path| (name(path), disk.read_file(path).unwrap())).collect()
}

/// The pieces of a file, which must follow each other and be all of it.
fn pieces(name: &str, bytes: &[u8]) -> Vec<Piece> {
    let (mut pieces, mut end) = (Vec::new(), 0);
    dissect(name, bytes, &mut |piece| {
        assert_eq!(piece.offset, end, "{name}: {piece:?}");
        let begin = usize::try_from(end).unwrap();
        end += piece.bytes;
        let its = &bytes[begin..usize::try_from(end).unwrap()];
        assert!(piece.value != Value::Zeros || its.iter().all(|byte| *byte == 0), "{name}: {piece:?}");
        pieces.push(piece);
        true
    })
    .unwrap();
    assert_eq!(end, bytes.len() as u64, "{name}: not all of it");
    pieces
}

#[test]
fn every_byte_of_every_file_has_a_name() {
    let disk = store();
    let files = files(&disk);
    let mut seen = std::collections::BTreeSet::new();
    for (name, bytes) in &files {
        for piece in pieces(name, bytes) {
            assert_eq!(piece.flaw, None, "{name}: {piece:?}");
            assert_ne!(piece.field, "bytes", "{name}: {piece:?}");
            seen.insert((piece.of.split(' ').next().unwrap().to_owned(), piece.field));
        }
    }
    for (of, field) in [
        ("header", "salt"),
        ("record", "op"),
        ("record", "value"),
        ("record", "padding"),
        ("seal", "digest"),
        ("room", "zeros"),
        ("manifest", "archive"),
        ("manifest", "archived"),
        ("part", "parts"),
        ("block", "created"),
        ("block", "value"),
        ("footer", "entries"),
        ("owner", "store_id"),
    ] {
        assert!(seen.contains(&(of.to_owned(), field)), "no {field} of {of} in {} files", files.len());
    }
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    let disk = store();
    let files = files(&disk);
    for (name, bytes) in &files {
        // A bit of every field, but for those that nothing guards.
        for piece in pieces(name, bytes) {
            if matches!(piece.field, "padding" | "zeros") || piece.of == "owner" {
                continue;
            }
            let mut damaged = bytes.clone();
            let at = usize::try_from(piece.offset + piece.bytes / 2).unwrap();
            damaged[at] ^= 1;
            let wrong = |piece: &Piece| piece.flaw.is_some();
            assert!(pieces(name, &damaged).iter().any(wrong), "{name}: byte {at} of {piece:?}");
        }
        // Cut anywhere. (Zeros at the end of a segment are missed by nobody here: only its header says how long it is.)
        for len in (0..bytes.len()).step_by(7) {
            pieces(name, &bytes[..len]);
        }
    }
}

#[test]
fn garbage_has_a_name_too() {
    let disk = store();
    let mut random = fastrand::Rng::with_seed(5);
    let files = files(&disk);
    for round in 0..3000 {
        let (name, bytes) = &files[round % files.len()];
        let mut damaged = bytes.clone();
        for _ in 0..random.usize(1..4) {
            let begin = random.usize(..=damaged.len());
            let end = random.usize(begin..=damaged.len().min(begin + 600));
            damaged[begin..end].iter_mut().for_each(|byte| *byte = random.u8(..));
        }
        pieces(name, &damaged);
    }
    assert_eq!(dissect("a letter", b"Dear ", &mut |_| true), Err(UnknownFile));
}

#[test]
fn whoever_has_seen_enough_is_told_no_more() {
    let disk = store();
    for (name, bytes) in files(&disk).into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for wanted in 1..50 {
            let mut told = 0;
            dissect(&name, &bytes, &mut |_| {
                told += 1;
                told < wanted
            })
            .unwrap();
            assert!(told <= wanted, "{name}: {told} of {wanted}");
        }
    }
}

/// A file that was moved is known by its first bytes; one whose first bytes are damaged, by its name.
#[test]
fn a_file_is_known_by_what_is_in_it_or_by_its_name() {
    let disk = store();
    for (name, bytes) in files(&disk).iter().filter(|(name, _)| name != "STORE" && name != "LOCK") {
        assert_eq!(pieces("moved", bytes), pieces(name, bytes), "{name}");
        let damaged = [b"DAMAGED!", &bytes[8..]].concat();
        let flaw = pieces(name, &damaged).swap_remove(0).flaw;
        assert!(flaw.is_some_and(|flaw| flaw.starts_with("should be FORE")), "{name}");
        assert_eq!(dissect("moved", &damaged, &mut |_| true), Err(UnknownFile), "{name}");
    }
    assert_eq!(dissect("LOCK", b"", &mut |_| true), Ok(()));
    assert_eq!(dissect("LOCK", b"locked", &mut |_| true), Err(UnknownFile), "a lock has no bytes");
}

/// A log alone has payloads that only its owner understands; a restored store names the one that it comes from; and a store
/// that nobody has chosen anything for has the options that are the default.
#[test]
fn other_files_than_those_of_a_store_by_hand() {
    let disk = store();
    let wal = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(8192).open("log").unwrap();
    wal.append(b"a letter").unwrap();
    wal.close().unwrap();
    Db::restore_on(Arc::new(disk.clone()), "data", "restored", RestoreTarget::Latest).unwrap();
    Options::new().storage(Arc::new(disk.clone())).open("default").unwrap().close().unwrap();
    let fields = |path: &str| {
        let name = path.rsplit('/').next().unwrap();
        let pieces = pieces(name, &disk.read_file(path).unwrap());
        assert!(pieces.iter().all(|piece| piece.flaw.is_none()), "{path}: {pieces:?}");
        pieces.into_iter().map(|piece| (piece.field, piece.value)).collect::<Vec<_>>()
    };
    let log = fields("log/00000000000000000001.wal");
    assert!(log.contains(&("payload", Value::Bytes)) && !log.iter().any(|(field, _)| *field == "op"));
    let restored = fields("restored/MANIFEST");
    assert!(
        restored.iter().any(|(field, value)| *field == "parent store_id" && matches!(value, Value::Text(_)))
    );
    assert!(fields("default/MANIFEST").contains(&("checkpoint_after_bytes", Value::Number(64 << 20))));
}

/// The checksum tells of any bit; which one it is, only the field itself.
#[test]
fn where_zeros_should_be_nothing_else_passes() {
    let disk = store();
    let mut tried = 0;
    for (name, bytes) in files(&disk) {
        let in_header = |piece: &Piece| piece.of == "header block" && piece.field == "reserved";
        for Piece { offset, .. } in pieces(&name, &bytes).into_iter().filter(in_header) {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(offset).unwrap()] = 1;
            let piece = pieces(&name, &damaged).into_iter().find(|piece| piece.offset == offset).unwrap();
            assert_eq!(piece.value, Value::Bytes, "{name}");
            assert_eq!(piece.flaw.as_deref(), Some("should be zeros"), "{name}");
            tried += 1;
        }
    }
    assert!(tried > 8, "{tried}");
}

/// The worked numbers: a time is a time, a checksum has its digits.
#[test]
fn values_have_their_forms() {
    let disk = store();
    let (name, bytes) = files(&disk).into_iter().rfind(|(name, _)| name.ends_with(".wal")).unwrap();
    let value =
        |field: &str| pieces(&name, &bytes).into_iter().find(|piece| piece.field == field).unwrap().value;
    assert!(matches!(value("created_us"), Value::Time(us) if us > 1 << 50));
    assert!(
        matches!(value("crc"), Value::Hex(_, 8)) && matches!(value("payload_checksum"), Value::Hex(_, 16))
    );
    assert_eq!(value("file_len"), Value::Number(8192));
    assert_eq!(value("checksum"), Value::Text("1, crc32".to_owned()));
    assert_eq!(value("kind"), Value::Text("1, data".to_owned()));
    assert_eq!((value("reserved"), value("key")), (Value::Zeros, Value::Bytes));
}

/// Each operation of a batch is taken apart into what it has, and nothing of the next one.
#[test]
fn operations_have_their_parts() {
    let disk = SimDisk::new(1);
    let db = Options::new().storage(Arc::new(disk.clone())).segment_bytes(8192).open("data").unwrap();
    let users = db.keyspace("users").unwrap();
    let mut batch = WriteBatch::new();
    batch.put_in(&users, "k", "vv");
    batch.delete("gone");
    db.write(batch).unwrap();
    db.drop_keyspace("users").unwrap();
    db.close().unwrap();
    let (name, bytes) = files(&disk).into_iter().find(|(name, _)| name.ends_with(".wal")).unwrap();
    let mut told: Vec<(&str, Value)> = Vec::new();
    for piece in pieces(&name, &bytes) {
        if piece.of.starts_with("record") && ["op", "keyspace", "key", "value", "name"].contains(&piece.field)
        {
            told.push((piece.field, piece.value));
        }
    }
    let number = Value::Number;
    let op = |text: &str| ("op", Value::Text(text.to_owned()));
    let expected = [
        op("2, create keyspace"),
        ("keyspace", number(1)),
        ("name", Value::Bytes),
        op("0, put"),
        ("keyspace", number(1)),
        ("key", Value::Bytes),
        ("value", Value::Bytes),
        op("1, delete"),
        ("keyspace", number(0)),
        ("key", Value::Bytes),
        op("3, drop keyspace"),
        ("keyspace", number(1)),
    ];
    assert_eq!(told, expected);
}

fn flaw_of<'a>(pieces: &'a [Piece], of: &str, field: &str) -> Option<&'a str> {
    let found = pieces.iter().find(|piece| piece.of == of && piece.field == field);
    found.unwrap_or_else(|| panic!("no {field} of {of}: {pieces:?}")).flaw.as_deref()
}

/// Headers that are sound by themselves, and do not fit to what stands around them.
#[test]
fn sound_headers_that_do_not_fit() {
    let disk = store();
    let has_seal = |(name, bytes): &(String, Vec<u8>)| {
        name.ends_with(".wal") && pieces(name, bytes).iter().any(|piece| piece.of == "seal")
    };
    let (name, bytes) = files(&disk).into_iter().find(has_seal).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    let at = SEGMENT_HEADER_BYTES;
    let first = RecordHeader::decode(&bytes[at..], header.salt, at as u64).unwrap();
    let second_at = at + usize::try_from(first.stored_bytes()).unwrap();
    let (base, next) = (first.lsn, first.lsn.next());
    let (of_first, of_next) = (format!("record {base}"), format!("record {next}"));
    let with_first = |record: RecordHeader| {
        let mut forged = bytes.clone();
        forged[at..at + RECORD_HEADER_BYTES].copy_from_slice(&record.encode(header.salt, at as u64));
        pieces(&name, &forged)
    };
    let told = with_first(RecordHeader { lsn: Lsn::new(900), ..first });
    assert_eq!(flaw_of(&told, "record 900", "lsn"), Some(&*format!("{base} is expected here")));
    assert_eq!(flaw_of(&told, &of_next, "lsn"), Some("901 is expected here"), "what comes next goes by it");
    let told = with_first(RecordHeader { payload_len: 1 << 20, ..first });
    assert_eq!(flaw_of(&told, &of_first, "payload_len"), Some("more than the file has"));
    assert_eq!(flaw_of(&told, &of_first, "payload_checksum"), None, "nothing is known about it");

    // A payload that was changed is told by the checksum, and not taken apart.
    let mut damaged = bytes.clone();
    damaged[at + RECORD_HEADER_BYTES] ^= 1;
    let right = header.checksum.of(&damaged[at + RECORD_HEADER_BYTES..][..first.payload_len as usize]);
    let told = pieces(&name, &damaged);
    let flaw = format!("that of the payload is {right:016x}");
    assert_eq!(flaw_of(&told, &of_first, "payload_checksum"), Some(&*flaw));
    assert_eq!(flaw_of(&told, &of_first, "payload"), None);
    assert!(!told.iter().any(|piece| piece.of == of_first && piece.field == "op"));

    // What stands in place of a record reaches up to the next one, and up to the seal.
    damaged = bytes.clone();
    damaged[at + 10] ^= 1;
    let told = pieces(&name, &damaged);
    let place = told.iter().find(|piece| piece.of == format!("in place of {of_first}")).unwrap();
    assert_eq!((place.offset, place.bytes), (at as u64, (second_at - at) as u64));
    let sound = pieces(&name, &bytes);
    let seal = sound.iter().find(|piece| piece.of == "seal").unwrap().offset;
    let last =
        sound.iter().rfind(|piece| piece.field == "header_crc" && piece.of.starts_with("record")).unwrap();
    damaged = bytes.clone();
    damaged[usize::try_from(last.offset).unwrap() + 10] ^= 1;
    let place = pieces(&name, &damaged).into_iter().find(|piece| piece.of.starts_with("in place")).unwrap();
    assert_eq!((place.offset, place.bytes), (last.offset, seal - last.offset));
    assert_eq!(place.flaw.as_deref(), Some("no record: unfinished, damaged, or left by a cut"));

    // Bytes behind a payload that are no zeros are shown.
    let padding = sound.iter().find(|piece| piece.field == "padding" && piece.value == Value::Zeros).unwrap();
    damaged = bytes;
    damaged[usize::try_from(padding.offset).unwrap()] = 7;
    let shown = pieces(&name, &damaged).into_iter().find(|piece| piece.offset == padding.offset).unwrap();
    assert_eq!((shown.field, shown.value), ("padding", Value::Bytes));
}

/// The same of a checkpoint's part.
#[test]
fn blocks_that_do_not_fit() {
    let disk = store();
    let (name, bytes) = files(&disk).into_iter().find(|(name, _)| name.ends_with(".ckpt")).unwrap();
    let header = PartHeader::decode(&bytes).unwrap();
    let blocks: Vec<(String, usize)> = pieces(&name, &bytes)
        .into_iter()
        .filter(|piece| piece.of.starts_with("block") && piece.field == "crc")
        .map(|piece| (piece.of, usize::try_from(piece.offset).unwrap()))
        .collect();
    let mut kinds = Vec::new();
    for (of, at) in &blocks {
        let block = BlockHeader::decode(&bytes[*at..], header.salt, *at as u64).unwrap();
        let begin = at + BLOCK_HEADER_BYTES;
        let end = begin + usize::try_from(block.body_bytes).unwrap();
        let forge = |block: BlockHeader, body: &[u8]| {
            let mut forged = bytes[..*at].to_vec();
            forged.extend(block.encode(header.salt, *at as u64));
            forged.extend(body);
            pieces(&name, &forged)
        };
        let told = forge(BlockHeader { body_bytes: 1 << 30, ..block }, &bytes[begin..]);
        assert_eq!(flaw_of(&told, of, "body_bytes"), Some("more than the file has"));
        assert_eq!(flaw_of(&told, of, "body_checksum"), None);
        assert_eq!(flaw_of(&told, of, "bytes"), Some("the file ends within the block"));

        let mut damaged = bytes.clone();
        damaged[begin] ^= 1;
        let told = pieces(&name, &damaged);
        let right = header.checksum.of(&damaged[begin..end]);
        assert_eq!(flaw_of(&told, of, "body_checksum"), Some(&*format!("that of the body is {right:016x}")));
        assert_eq!(flaw_of(&told, of, "body"), None);

        // Cut anywhere, with the right checksum: what cannot be decoded is told where it begins.
        let mut undecodable = 0;
        for len in 0..(end - begin).min(40) {
            let body = &bytes[begin..begin + len];
            let checksum = header.checksum.of(body);
            let told = forge(BlockHeader { body_bytes: len as u64, body_checksum: checksum, ..block }, body);
            undecodable +=
                usize::from(told.iter().any(|piece| piece.flaw.as_deref() == Some("cannot be decoded")));
        }
        assert!(undecodable > 3, "{of}");
        kinds.push(block.kind);
    }
    assert!(kinds.contains(&BlockKind::Entries) && kinds.contains(&BlockKind::Keyspaces));
}

/// And of a manifest, whose body is cut anywhere under a header that fits to it.
#[test]
fn manifests_that_do_not_fit() {
    let disk = store();
    let bytes = disk.read_file("data/MANIFEST").unwrap();
    let fields = pieces("MANIFEST", &bytes);
    let begin = usize::try_from(fields.iter().find(|piece| piece.of == "manifest").unwrap().offset).unwrap();
    let mut damaged = bytes.clone();
    damaged[begin] ^= 1;
    let told = pieces("MANIFEST", &damaged);
    let right = u32::try_from(Checksum::Crc32.of(&damaged[begin..])).unwrap();
    assert_eq!(
        flaw_of(&told, "manifest header", "body_crc"),
        Some(&*format!("that of the body is {right:08x}"))
    );
    assert_eq!(
        (flaw_of(&told, "manifest", "body"), flaw_of(&told, "manifest header", "body_len")),
        (None, None)
    );
    let told = pieces("MANIFEST", &bytes[..bytes.len() - 1]);
    let flaw = format!("the body has {}", bytes.len() - begin - 1);
    assert_eq!(flaw_of(&told, "manifest header", "body_len"), Some(&*flaw));
    let mut undecodable = 0;
    for end in begin..=bytes.len() + 1 {
        let mut forged = [&bytes[..], &[7]].concat();
        forged.truncate(end);
        let crc = u32::try_from(Checksum::Crc32.of(&forged[begin..])).unwrap();
        forged[16..20].copy_from_slice(&crc.to_le_bytes());
        let told = pieces("MANIFEST", &forged);
        assert_eq!(flaw_of(&told, "manifest header", "body_crc"), None);
        undecodable +=
            usize::from(told.iter().any(|piece| piece.flaw.as_deref() == Some("cannot be decoded")));
        if end > bytes.len() {
            assert_eq!(flaw_of(&told, "manifest", "bytes"), Some("too many"));
        }
    }
    assert!(undecodable > 20, "{undecodable} of {}", bytes.len() - begin);
}
