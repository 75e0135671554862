//! Tries replaying with several threads, and with runs so short that they are merged and handed over all the time.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::last::apply;
    use super::super::replay::replay_within;
    use crate::catalog::Catalog;
    use crate::error::{CorruptionKind, Error};
    use crate::event::Events;
    use crate::format::record::RecordKind;
    use crate::format::{KeyspaceId, Op, batch_body};
    use crate::lsn::Lsn;
    use crate::memtable::{Snapshot, Tracker};
    use crate::storage::dir::Dir;
    use crate::storage::{Outcome, SimDisk};
    use crate::wal::{Given, Opening, Wal};
    use crate::{Durability, WalOptions};

    const SEGMENT_BYTES: u64 = 8192;

    /// How long runs may get; how many threads.
    const WAYS: [(usize, usize); 8] =
        [(32 << 20, 1), (32 << 20, 3), (0, 1), (0, 2), (0, 4), (4000, 2), (30_000, 2), (30_000, 4)];

    /// A log alone, in which any bytes can be written as batches.
    fn log_on(disk: &SimDisk) -> Wal {
        let options = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES);
        options.idle_mark(None).spare_ahead(false).durability(Durability::Buffered).open("log").unwrap()
    }

    fn body(ops: &[Op<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        ops.iter().for_each(|op| op.append_to(&mut body));
        body
    }

    fn opening(disk: &SimDisk) -> Opening {
        let dir = Dir::new(Arc::new(disk.clone()), Path::new("log"));
        Opening::for_reading(&dir, Given::default()).unwrap()
    }

    fn catalog() -> Catalog {
        Catalog::new(Tracker::new(Lsn::ZERO))
    }

    /// Keyspaces with their creation, and their entries in both directions.
    type Dump = Vec<(KeyspaceId, String, Lsn, Vec<(Lsn, Vec<u8>, Vec<u8>)>)>;

    fn dump(catalog: &Catalog, snapshot: &Snapshot) -> Dump {
        let space = |space: &Arc<crate::catalog::Space>| {
            let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let range = || space.table.range(all.clone(), snapshot.clone());
            let owned = |entry: crate::Entry| (entry.lsn(), entry.key().to_vec(), entry.value().to_vec());
            let entries: Vec<_> = range().map(owned).collect();
            let mut backward: Vec<_> = range().rev().map(owned).collect();
            backward.reverse();
            assert_eq!(entries, backward);
            (space.id, space.name.to_string(), space.created, entries)
        };
        catalog.all().iter().map(space).collect()
    }

    /// What one thread gets that applies record by record. Also how it fails.
    fn one_by_one(disk: &SimDisk, last: Lsn) -> Result<(Dump, u64, u64), Error> {
        let (opening, catalog) = (opening(disk), catalog());
        let (mut records, mut operations) = (0, 0);
        for index in 0..opening.segments() {
            opening.read(index, &mut |record| {
                apply(&opening, &catalog, &record)?;
                records += u64::from(record.header.kind == RecordKind::Data);
                operations += batch_body::ops(record.payload).count() as u64;
                Ok(())
            })?;
        }
        catalog.tracker().publish(last);
        Ok((dump(&catalog, &catalog.tracker().snapshot()), records, operations))
    }

    /// All ways end alike.
    fn check(disk: &SimDisk, last: Lsn) -> Result<Dump, Error> {
        let expected = one_by_one(disk, last);
        for (in_flight, threads) in WAYS {
            let (opening, catalog) = (opening(disk), catalog());
            let segments = opening.segments();
            let found = replay_within(in_flight, &opening, segments, &catalog, threads, &Events::default());
            match (&expected, found) {
                (Ok((expected, records, operations)), Ok((pieces, totals))) => {
                    assert_eq!(pieces.len(), segments);
                    assert!(catalog.tracker().visible() <= last, "more was published than there is");
                    catalog.tracker().publish(last);
                    assert_eq!(&dump(&catalog, &catalog.tracker().snapshot()), expected);
                    assert_eq!((totals.records, totals.operations), (*records, *operations));
                    let tables = catalog.all();
                    tables.iter().for_each(|space| while space.table.collect_garbage(usize::MAX) {});
                    assert!(tables.iter().all(|space| space.table.stats().tombstones == 0));
                }
                (Err(expected), Err(found)) => assert_eq!(found.to_string(), expected.to_string()),
                (expected, found) => panic!("{threads} threads: {found:?} instead of {expected:?}"),
            }
        }
        expected.map(|(dump, ..)| dump)
    }

    /// Random batches over keyspaces that are created and dropped along the way, over many segments; each log as it is, and after
    /// power cuts that tear its end.
    #[test]
    fn many_threads_recover_what_one_does() {
        for seed in 0..12 {
            let mut random = fastrand::Rng::with_seed(seed);
            let disk = SimDisk::new(seed);
            let wal = log_on(&disk);
            let keys = [3, 40, 2000][random.usize(..3)];
            let (mut spaces, mut there) = (1, vec![0]);
            for _ in 0..random.u32(1..700) {
                let mut batch = Vec::new();
                let mut used = std::collections::BTreeSet::new();
                let name = format!("space {}", spaces % 3);
                if random.u8(..30) == 0 {
                    // Its name may be that of one that is there.
                    if let Some(id) = there.iter().position(|id| id % 3 == spaces % 3 && *id > 0) {
                        batch.push(Op::DropKeyspace { id: KeyspaceId(there.remove(id)) });
                    }
                    batch.push(Op::CreateKeyspace { id: KeyspaceId(spaces), name: &name });
                    there.push(spaces);
                    spaces += 1;
                }
                let chosen: Vec<_> = (0..random.usize(..6))
                    .map(|_| {
                        (KeyspaceId(there[random.usize(..there.len())]), random.u32(..keys).to_be_bytes())
                    })
                    .filter(|chosen| used.insert(*chosen))
                    .collect();
                let value = vec![random.u8(..); random.usize(..200)];
                batch.extend(chosen.iter().map(|(keyspace, key)| match random.u8(..3) {
                    0 => Op::Delete { keyspace: *keyspace, key },
                    _ => Op::Put { keyspace: *keyspace, key, value: &value },
                }));
                wal.append(&body(&batch)).unwrap();
                if random.u8(..50) == 0 {
                    wal.sync().unwrap();
                }
            }
            let last = wal.last_lsn();
            let cut = disk.fork().power_cut(&Outcome::Random { seed, rest: None });
            drop(wal);
            check(&disk, last.next()).unwrap();
            let last = opening_end(&cut);
            check(&cut, last).unwrap();
        }
    }

    fn opening_end(disk: &SimDisk) -> Lsn {
        let opening = opening(disk);
        let pieces = (0..opening.segments()).map(|index| opening.read(index, &mut |_| Ok(())).unwrap());
        crate::wal::report_on(pieces.collect()).last_lsn
    }

    const A: KeyspaceId = KeyspaceId(1);
    const B: KeyspaceId = KeyspaceId(2);

    /// A log of bodies, each at the start of a segment of its own.
    fn segments(bodies: &[Vec<u8>]) -> (SimDisk, Lsn) {
        let disk = SimDisk::new(1);
        let wal = log_on(&disk);
        for body in bodies {
            wal.append(body).unwrap();
            wal.append(&[]).unwrap();
            wal.rotate().unwrap();
        }
        let last = wal.last_lsn();
        drop(wal);
        (disk, last.next())
    }

    fn put(keyspace: KeyspaceId) -> Op<'static> {
        Op::Put { keyspace, key: b"k", value: b"v" }
    }

    fn create(id: KeyspaceId, name: &str) -> Op<'_> {
        Op::CreateKeyspace { id, name }
    }

    fn drop_of(id: KeyspaceId) -> Op<'static> {
        Op::DropKeyspace { id }
    }

    /// What is wrong with keyspaces is told where a reader from the beginning would have met it, although it shows
    /// only when all segments have been read.
    #[test]
    fn keyspaces_that_cannot_be() {
        let check = |bodies: &[Vec<u8>], wrong: Option<u64>| {
            let (disk, last) = segments(bodies);
            match (check(&disk, last), wrong) {
                (Ok(_), None) => {}
                (Err(Error::Corruption(corruption)), Some(wrong)) => {
                    assert_eq!(corruption.kind, CorruptionKind::BatchBody);
                    assert_eq!(corruption.lsn, Some(Lsn::new(wrong)));
                }
                (found, _) => panic!("{found:?} instead of an error at {wrong:?}"),
            }
        };
        check(&[body(&[create(A, "a")]), body(&[put(A)])], None);
        check(&[body(&[create(A, "a"), put(A)])], None);
        check(&[body(&[put(A), create(A, "a")])], Some(1));
        check(&[body(&[put(A)]), body(&[create(A, "a")])], Some(1));
        check(&[body(&[]), body(&[put(A)]), body(&[put(A)])], Some(3));
        check(&[body(&[create(A, "a")]), body(&[create(A, "b")])], Some(3));
        check(&[body(&[create(A, "a")]), body(&[create(B, "a")])], Some(3));
        check(&[body(&[create(A, "default")])], Some(1));
        check(&[body(&[create(KeyspaceId::DEFAULT, "a")])], Some(1));
        check(&[body(&[]), body(&[create(B, "b")]), body(&[put(A)]), body(&[create(B, "c")])], Some(5));
        check(&[body(&[]), body(&[create(B, "b"), create(B, "c")]), body(&[put(A)])], Some(3));
        check(&[body(&[create(A, "a")]), body(&[drop_of(A)]), body(&[create(B, "a"), put(B)])], None);
        check(&[body(&[create(A, "a")]), body(&[drop_of(A)]), body(&[create(A, "b")])], Some(5));
        check(&[body(&[create(A, "a")]), body(&[drop_of(A), drop_of(A)])], Some(3));
        check(&[body(&[drop_of(A)]), body(&[create(A, "a")])], Some(1));
        check(&[body(&[drop_of(KeyspaceId::DEFAULT)])], Some(1));
        check(&[vec![9], body(&[put(A)])], Some(1));
        check(&[body(&[put(A)]), vec![9]], Some(1));
        check(&[body(&[create(A, "a")]), vec![9], body(&[put(B)])], Some(3));
    }

    /// Of damaged segments the lowest is told, and a batch that cannot be applied counts as damage of its segment.
    #[test]
    fn of_several_failures_the_lowest_is_told() {
        let empty = || body(&[]);
        let bodies = [empty(), body(&[put(A)]), empty(), body(&[create(A, "a")]), empty(), empty()];
        let (disk, last) = segments(&bodies);
        let files: Vec<_> = disk.files().into_iter().filter(|file| file.extension().is_some()).collect();
        assert_eq!(files.len(), 7);
        for damaged in [vec![0], vec![0, 4], vec![1], vec![1, 5], vec![2, 3, 5], vec![5]] {
            let disk = disk.fork();
            for index in &damaged {
                let mut bytes = disk.read_file(&files[*index]).unwrap();
                bytes[4096 + 2] ^= 1;
                disk.write_file(&files[*index], &bytes);
            }
            let lowest = damaged[0].min(1);
            let Err(Error::Corruption(corruption)) = check(&disk, last) else { panic!("{damaged:?}") };
            assert_eq!(corruption.file.file_name(), files[lowest].file_name(), "{damaged:?}");
        }
    }

    /// What a checkpoint holds is not read again, but for the segment before the last one, which may lack its seal.
    #[test]
    fn what_is_applied_is_skipped() {
        let (disk, last) = segments(&[body(&[]), body(&[]), body(&[]), body(&[]), body(&[])]);
        let dir = |disk: &SimDisk| Dir::new(Arc::new(disk.clone()), Path::new("log"));
        let read = |opening: &Opening, visited: &mut Vec<u64>| -> Vec<crate::wal::Piece> {
            let mut visit = |record: crate::wal::RecordRef<'_>| {
                visited.push(record.header.lsn.get());
                Ok(())
            };
            (0..opening.segments()).map(|index| opening.read(index, &mut visit).unwrap()).collect()
        };
        let whole = crate::wal::report_on(read(&opening(&disk), &mut Vec::new())).segments;
        for applied in (0..=last.get()).map(Lsn::new) {
            let given = Given { applied, ..Given::default() };
            let mut visited = Vec::new();
            let planned = Opening::for_reading(&dir(&disk), given).unwrap();
            let found = crate::wal::report_on(read(&planned, &mut visited)).segments;
            assert_eq!(visited, (applied.get() + 1..=last.get()).collect::<Vec<_>>());
            for (index, (found, whole)) in found.iter().zip(&whole).enumerate() {
                let unread = found.last_lsn <= applied && index + 2 < planned.segments();
                assert_eq!(found.used_bytes, whole.used_bytes.filter(|_| !unread));
                assert_eq!((found.base_lsn, found.records), (whole.base_lsn, whole.records));
            }

            // Its seal was lost when the process died. Opening writes it again: that the last file is gone then shows.
            let disk = disk.fork();
            let before = &whole[whole.len() - 2];
            let path = format!("log/{}", before.file);
            let mut bytes = disk.read_file(&path).unwrap();
            bytes[usize::try_from(before.used_bytes.unwrap()).unwrap()..].fill(0);
            disk.write_file(&path, &bytes);
            let dir = dir(&disk);
            let planned = Opening::for_writing(&dir, given).unwrap();
            let pieces = read(&planned, &mut Vec::new());
            let lock = dir.lock("LOCK", true).unwrap();
            let options = WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES);
            Wal::go_on(planned, options, lock, pieces).unwrap().abandon();
            disk.remove_file(format!("log/{}", whole[whole.len() - 1].file));
            let end = opening(&disk).read(whole.len() - 2, &mut |_| Ok(()));
            assert!(matches!(end, Err(Error::MissingSegment { .. })), "applied up to {applied}: {end:?}");
        }
    }
}
