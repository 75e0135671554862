//! The write-ahead log without the store: numbered records, group sync, reading back, cutting, many readers.
//!
//! `cargo run --example log_alone`

use forelog::wal::Wal;
use forelog::{Checksum, Durability, Lsn, WalOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("log");

    let options =
        WalOptions::new().segment_bytes(16 * 1024).checksum(Checksum::Xxh3).durability(Durability::Buffered);
    let wal = options.open(&path)?;
    for number in 0..1000 {
        wal.append(format!("event {number}").as_bytes())?;
    }
    println!("last LSN {}, durable LSN {}", wal.last_lsn(), wal.durable_lsn());
    wal.sync()?;
    println!("after one sync: durable LSN {}", wal.durable_lsn());

    for record in wal.read_from(Lsn::new(998))? {
        let record = record?;
        println!("{} at {}+{}: {}", record.lsn, record.file, record.offset, record.payload.escape_ascii());
    }

    // One reader a segment: they may run on as many threads.
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            wal.segment_readers().into_iter().map(|reader| scope.spawn(move || reader.count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).collect()
    });
    println!("{} segments hold {} records", counts.len(), counts.iter().sum::<usize>());

    let removed = wal.remove_before(Lsn::new(500))?;
    wal.cut_after(Lsn::new(990))?;
    println!("{removed} segments removed; the log now holds LSN {} to {}", wal.oldest_lsn(), wal.last_lsn());
    wal.close()?;

    // The default options: what is appended is durable when `append` returns.
    let wal = Wal::open(&path)?;
    println!("opened again at LSN {}, {} segments", wal.last_lsn(), wal.segments().len());
    Ok(())
}
