//! smoke
use forelog::wal::*;
use forelog::*;
use forelog::storage::SimDisk;
use std::sync::Arc;
#[test]
fn smoke() {
    let disk = SimDisk::new(1);
    let open = || WalOptions::new().storage(Arc::new(disk.clone())).segment_bytes(8192).idle_mark(None).open("/a/log").unwrap();
    let wal = open();
    for i in 0..200u32 { wal.append(format!("record {i}").as_bytes()).unwrap(); }
    println!("{:?}", wal.segments());
    let n = wal.read_from(Lsn::new(1)).unwrap().map(|r| r.unwrap()).count();
    assert_eq!(n, 200);
    wal.close().unwrap();
    let wal = open();
    println!("{:?}", wal.report());
    wal.cut_after(Lsn::new(77)).unwrap();
    wal.append(b"x").unwrap();
    assert_eq!(wal.last_lsn(), Lsn::new(78));
    println!("{:?}", wal.verify().unwrap());
    drop(wal);
    let wal = open();
    println!("{:?}", wal.report());
    assert_eq!(wal.last_lsn(), Lsn::new(79));
    assert_eq!(wal.remove_before(Lsn::new(70)).unwrap(), 1);
    println!("{:?}", wal.verify().unwrap());
}
