//! A reader of stores, written from `docs/FORMAT.md` alone: nothing of the crate is used here.
//!
//! It shows that the page is enough. It panics at damage, and takes its time.

use std::collections::BTreeMap;

/// The files of a directory by their names.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

fn int(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// LSN, kind and payload.
pub(crate) type PageRecord = (u64, u8, Vec<u8>);

/// The records of a log, and whether its end is torn; panics at damage. Steps 1 to 5 of the page's *Reading*.
pub(crate) fn read_log(files: &Files) -> (Vec<PageRecord>, bool) {
    let (mut first, mut proven, mut store_id) = (0, 0, None);
    if let Some(manifest) = files.get("MANIFEST") {
        assert!(
            manifest.starts_with(b"FOREMANI") && int(manifest, 20, 4) as u32 == crc32(&[&manifest[..20]])
        );
        let body = &manifest[24..];
        assert_eq!((int(manifest, 8, 4), int(manifest, 12, 4)), (1, body.len() as u64));
        assert_eq!(int(manifest, 16, 4) as u32, crc32(&[body]));
        let manifest = read_manifest(body);
        (first, proven, store_id) = (manifest.first_segment, manifest.durable_lsn, Some(manifest.store_id));
    }

    let mut segments: Vec<(u64, &[u8])> = Vec::new();
    let mut cut = 0;
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".wal")) {
        let base: u64 = name[..20].parse().unwrap();
        assert!(bytes.starts_with(b"FORELOG\n") && int(bytes, 4092, 4) as u32 == crc32(&[&bytes[..4092]]));
        assert_eq!((int(bytes, 8, 4), int(bytes, 32, 8), int(bytes, 64, 8)), (1, base, base - 1));
        assert_eq!(&bytes[16..32], store_id.get_or_insert_with(|| bytes[16..32].to_vec()));
        assert!(bytes.len() as u64 >= int(bytes, 40, 8));
        if base >= first && int(bytes, 96, 8) >= cut {
            cut = int(bytes, 96, 8);
            segments.push((base, bytes));
        }
    }
    assert!(first == 0 || segments[0].0 == first);

    let mut records = Vec::new();
    for (index, (base, bytes)) in segments.iter().enumerate() {
        let successor = segments.get(index + 1);
        let (mut at, mut lsn, mut digest) = (4096, *base, 0);
        proven = if successor.is_none() { proven.max(int(bytes, 80, 8)) } else { proven };
        while successor.is_none_or(|next| lsn < next.0) {
            let Some((durable, kind, payload)) = sound_record(bytes, at, lsn) else { break };
            let mut hashed = [&lsn.to_le_bytes()[..], &[kind]].concat();
            hashed.extend_from_slice(&bytes[at + 32..at + 40]);
            digest = xxhash_rust::xxh3::xxh3_64_with_seed(&hashed, digest);
            proven = if successor.is_none() { proven.max(durable) } else { proven };
            at += (48 + payload.len()).next_multiple_of(8);
            records.push((lsn, kind, payload));
            lsn += 1;
        }
        if let Some((next, header)) = successor {
            assert_eq!((lsn, digest), (*next, int(header, 72, 8)), "the successor states something else");
            continue;
        }
        // The golden directories hold no evidence behind the end: what a search would find is left to other tests.
        assert!(proven < lsn, "corrupt: LSN {lsn} was durable");
        return (records, bytes[at..].iter().any(|byte| *byte != 0));
    }
    panic!("there is no segment");
}

/// `durable_lsn`, kind and payload of the record with this LSN at this place. Step 4.
fn sound_record(bytes: &[u8], at: usize, lsn: u64) -> Option<(u64, u8, Vec<u8>)> {
    let header = bytes.get(at..at + 48)?;
    let (salt, kind, durable) = (int(bytes, 48, 8), header[40], int(header, 16, 8));
    let sound = int(header, 0, 4) as u32 == placed(salt, at as u64, &header[4..])
        && (1..=3).contains(&kind)
        && header[41..] == [0; 7]
        && durable < int(header, 8, 8)
        && int(header, 8, 8) == lsn;
    let len = int(header, 4, 4) as usize;
    let end = at + (48 + len).next_multiple_of(8);
    if !sound || end as u64 > int(bytes, 40, 8) - 40 {
        return None;
    }
    let payload = &bytes[at + 48..at + 48 + len];
    let checksum = checksum_of(bytes[56], payload);
    (checksum == int(header, 32, 8)).then(|| (durable, kind, payload.to_vec()))
}

struct PageManifest {
    store_id: Vec<u8>,
    first_segment: u64,
    durable_lsn: u64,
    /// LSN, generation, and for each part its length, number of entries and digest.
    checkpoints: Vec<(u64, u64, Vec<[u64; 3]>)>,
}

/// The body of a manifest.
fn read_manifest(body: &[u8]) -> PageManifest {
    let rest = &mut &body[16..];
    let is_some = |rest: &mut &[u8]| take_varint(rest) == 1;
    if is_some(rest) {
        *rest = &rest[16..];
        take_varint(rest);
    }
    let [_generation, first_segment, durable_lsn, checkpoints] = [(); 4].map(|()| take_varint(rest));
    let checkpoints = (0..checkpoints).map(|_| {
        let [lsn, generation, _time, parts] = [(); 4].map(|()| take_varint(rest));
        let parts = (0..parts).map(|_| [(); 3].map(|()| take_varint(rest)));
        (lsn, generation, parts.collect())
    });
    let checkpoints = checkpoints.collect();
    let _segment_bytes = take_varint(rest);
    *rest = &rest[1..];
    if is_some(rest) {
        take_varint(rest);
    }
    assert!(take_varint(rest) > 0, "at least one checkpoint is kept");
    take_bytes(rest);
    if is_some(rest) {
        take_bytes(rest);
    }
    if !rest.is_empty() {
        assert!(take_varint(rest) > 0, "archived is left out where it is 0");
    }
    assert!(rest.is_empty());
    PageManifest { store_id: body[..16].to_vec(), first_segment, durable_lsn, checkpoints }
}

fn checksum_of(algorithm: u8, bytes: &[u8]) -> u64 {
    match algorithm {
        1 => u64::from(crc32(&[bytes])),
        2 => u64::from(crc32c::crc32c(bytes)),
        3 => xxhash_rust::xxh3::xxh3_64(bytes),
        other => panic!("checksum {other}"),
    }
}

type Names = BTreeMap<u64, String>;
type Keys = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// The newest checkpoint: its LSN, and what it holds.
fn read_checkpoint(files: &Files, names: &mut Names, keys: &mut Keys) -> u64 {
    let manifest = read_manifest(&files["MANIFEST"][24..]);
    let Some((lsn, generation, parts)) = manifest.checkpoints.last() else { return 0 };
    for (number, [len, entries, digest]) in parts.iter().enumerate() {
        let part = &files[&format!("{lsn:020}-{generation}-{number}.ckpt")];
        assert!(part.starts_with(b"FORECKPT") && int(part, 60, 4) as u32 == crc32(&[&part[..60]]));
        assert_eq!((int(part, 8, 4), int(part, 12, 4), part.len() as u64), (1, 64, *len));
        assert_eq!(
            (&part[16..32], int(part, 32, 8), int(part, 48, 4), int(part, 52, 4)),
            (&manifest.store_id[..], *lsn, number as u64, parts.len() as u64)
        );
        let (salt, mut at, mut chained, mut blocks, mut found) = (int(part, 40, 8), 64, 0, 0, 0);
        while !part[at..].starts_with(b"FOREDONE") {
            let header = &part[at..at + 32];
            assert_eq!(int(header, 0, 4) as u32, placed(salt, at as u64, &header[4..]));
            let body = &part[at + 32..at + 32 + int(header, 8, 8) as usize];
            assert_eq!(int(header, 16, 8), checksum_of(part[56], body));
            let mut hashed = [&(at as u64).to_le_bytes()[..], &[header[28]]].concat();
            hashed.extend_from_slice(&header[16..24]);
            chained = xxhash_rust::xxh3::xxh3_64_with_seed(&hashed, chained);
            let rest = &mut &body[..];
            while !rest.is_empty() {
                if header[28] == 2 {
                    let (keyspace, _created) = (take_varint(rest), take_varint(rest));
                    names.insert(keyspace, String::from_utf8(take_bytes(rest)).unwrap());
                    continue;
                }
                assert!(header[28] == 1 && take_varint(rest) <= *lsn);
                let key = take_bytes(rest);
                keys.insert((names[&int(header, 4, 4)].clone(), key), take_bytes(rest));
                found += 1;
            }
            (at, blocks) = (at + 32 + body.len(), blocks + 1);
        }
        let footer = &part[at..];
        assert_eq!((footer.len(), int(footer, 36, 4) as u32), (40, placed(salt, at as u64, &footer[..36])));
        assert_eq!([int(footer, 8, 8), int(footer, 16, 8), int(footer, 24, 8)], [blocks, found, chained]);
        assert_eq!((found, chained), (*entries, *digest), "what the manifest states");
    }
    *lsn
}

/// What is in each keyspace: the checkpoint, and all batches behind it.
pub(crate) fn read_keys(files: &Files, records: &[PageRecord]) -> Keys {
    let mut names = BTreeMap::from([(0, "default".to_owned())]);
    let mut keys = BTreeMap::new();
    let covered = read_checkpoint(files, &mut names, &mut keys);
    for (_, _, payload) in records.iter().filter(|(lsn, kind, _)| *kind == 1 && *lsn > covered) {
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let (op, keyspace) = (take_varint(&mut rest), take_varint(&mut rest));
            if op == 3 {
                let gone = names.remove(&keyspace).unwrap();
                keys.retain(|(name, _), _| *name != gone);
                continue;
            }
            let key = take_bytes(&mut rest);
            match op {
                0 => drop(keys.insert((names[&keyspace].clone(), key), take_bytes(&mut rest))),
                1 => drop(keys.remove(&(names[&keyspace].clone(), key))),
                2 => drop(names.insert(keyspace, String::from_utf8(key).unwrap())),
                other => panic!("op {other}"),
            }
        }
    }
    keys
}

fn take_varint(rest: &mut &[u8]) -> u64 {
    let len = match rest[0] {
        0xfb => 2,
        0xfc => 4,
        0xfd => 8,
        first => {
            *rest = &rest[1..];
            return u64::from(first);
        }
    };
    let number = int(rest, 1, len);
    *rest = &rest[1 + len..];
    number
}

fn take_bytes(rest: &mut &[u8]) -> Vec<u8> {
    let len = take_varint(rest) as usize;
    let (bytes, behind) = rest.split_at(len);
    *rest = behind;
    bytes.to_vec()
}

/// CRC-32 bit by bit, from the polynomial that the page gives.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !parts.iter().copied().flatten().fold(!0, byte)
}

pub(crate) fn placed(salt: u64, offset: u64, bytes: &[u8]) -> u32 {
    crc32(&[&salt.to_le_bytes(), &offset.to_le_bytes(), bytes])
}
