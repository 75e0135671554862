//! Shows that `format::layout` is what the page says, and that `format::anatomy` labels every byte of every file, whatever
//! stands there.

use std::path::Path;
use std::sync::Arc;

use forelog::format::anatomy::{Piece, UnknownFile, Value, dissect};
use forelog::format::layout::{
    BLOCK_HEADER, FOOTER, Field, Form, HEADER_BLOCK, MANIFEST_HEADER, PART_HEADER, RECORD_HEADER, SEAL,
};
use forelog::storage::SimDisk;
use forelog::{Db, Options, RestoreTarget, WalOptions, WriteBatch};

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
        end += piece.bytes;
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
