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
        store_id = Some(body[..16].to_vec());
        let mut rest = &body[16..];
        let numbers: Vec<u64> = (0..4).map(|_| take_varint(&mut rest)).collect();
        (first, proven) = (numbers[1], numbers[2]);
        assert_eq!(rest.len(), 1);
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
    let checksum = match bytes[56] {
        1 => u64::from(crc32(&[payload])),
        2 => u64::from(crc32c::crc32c(payload)),
        3 => xxhash_rust::xxh3::xxh3_64(payload),
        other => panic!("checksum {other}"),
    };
    (checksum == int(header, 32, 8)).then(|| (durable, kind, payload.to_vec()))
}

/// What is in each keyspace after all batches.
pub(crate) fn read_keys(records: &[PageRecord]) -> BTreeMap<(String, Vec<u8>), Vec<u8>> {
    let mut names = BTreeMap::from([(0, "default".to_owned())]);
    let mut keys = BTreeMap::new();
    for (_, _, payload) in records.iter().filter(|(_, kind, _)| *kind == 1) {
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let (op, keyspace) = (take_varint(&mut rest), take_varint(&mut rest));
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
