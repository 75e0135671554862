//! `import`: NDJSON lines, a batch at a time.
//!
//! ```text
//!  reader   read lines → parse → ┐ at most two batches ahead
//!  caller                        └→ write → durable → {"acknowledged":N} → …
//! ```
//!
//! N counts the lines of the input from its beginning, so `--skip N` goes on behind what was acknowledged. A bad line
//! ends the import, and nothing of its batch is written. Ctrl-C ends it between two batches.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use forelog::format::KeyspaceId;
use forelog::{Db, Durability, Error, Lsn, WriteBatch};

use super::App;
use crate::args::{self, Import};
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::ndjson::{self, Entry};
use crate::output::{Cell, say};
use crate::progress::Progress;
use crate::store;

/// A batch ends early when its contents are this long: large values make short batches.
const BATCH_BYTES: usize = 4 << 20;

/// How often Ctrl-C is looked at while the input is silent.
const INTERRUPT_EVERY: Duration = Duration::from_millis(50);

pub fn run(args: &Import, app: &mut App) -> Result<Outcome, Failure> {
    interrupt::listen();
    let input = Input::open(&args.file)?;
    let begun = Instant::now();
    let db = store::open_to_write(&args.dir, &app.globals)?;
    let mut import = Importing {
        writer: Writer::new(&db, args.keyspace.name(&app.globals)?.as_deref())?,
        acknowledge: args.progress == args::Progress::Json,
        durability: app.globals.durability,
        bar: Progress::new(
            "imported",
            input.bytes,
            app.globals.quiet || args.progress != args::Progress::Auto,
        ),
        in_bytes: input.bytes.is_some(),
        records: 0,
        done: args.skip,
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    let (skip, limit) = (args.skip, args.batch);
    // Not joined: after a failure it may wait for input for ever, and ends with the process.
    thread::spawn(move || read_batches(input.lines, skip, limit, &sender));
    let ended = import.write_batches(&receiver);
    let (records, done) = (import.records, import.done);
    drop(import);
    // Also after a failure: what was written is kept, and the log's end is marked.
    let closed = store::close(db, &app.globals);
    match &ended {
        Err(Failure::Interrupted) => {
            app.globals.say(format_args!("interrupted after {done} lines; --skip {done} goes on from there"));
        }
        Err(_) if done > 0 => {
            app.globals.say(format_args!("{done} lines are in; --skip {done} goes on from there"));
        }
        Ok(()) if done < args.skip => {
            app.globals
                .say(format_args!("nothing is imported: --skip {} leaves out all {done} lines", args.skip));
        }
        _ => {}
    }
    ended?;
    closed?;
    app.out.record(&[
        ("records", records.into()),
        ("seconds", Cell::Decimal(begun.elapsed().as_secs_f64(), 3)),
    ])?;
    Ok(Outcome::Done)
}

/// Where the lines come from.
struct Input {
    lines: Box<dyn BufRead + Send>,
    /// How long it is, where this is known.
    bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            return Ok(Input { lines: Box::new(BufReader::new(io::stdin())), bytes: None });
        }
        let file = File::open(path).map_err(|source| Failure::file("open", path, source))?;
        let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        Ok(Input { lines: Box::new(BufReader::with_capacity(1 << 18, file)), bytes })
    }
}

/// Lines that are written together.
#[derive(Default)]
struct Lines {
    /// What they set, each with the number of its line.
    entries: Vec<(u64, Entry)>,
    /// The number of the last line that was read, blank ones included.
    last: u64,
    /// How much of the input they take.
    bytes: u64,
}

/// Sends batches until the input ends, a line is bad, or nobody listens any more.
fn read_batches(
    mut input: Box<dyn BufRead + Send>,
    skip: u64,
    limit: u64,
    sender: &SyncSender<Result<Lines, Failure>>,
) {
    let mut next = Lines::default();
    let mut content = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(length) => length,
            Err(source) => {
                let _ = sender.send(Err(Failure::file("read", Path::new("the input"), source)));
                return;
            }
        };
        next.last += 1;
        next.bytes += length as u64;
        if next.last > skip && !line.trim_ascii().is_empty() {
            match ndjson::parse(&line) {
                Ok(entry) => {
                    content += entry.key.len() + entry.value.len();
                    next.entries.push((next.last, entry));
                }
                Err(cause) => {
                    let _ = sender.send(Err(Failure::Line { number: next.last, cause: Box::new(cause) }));
                    return;
                }
            }
        }
        let lines_done = next.last.saturating_sub(skip);
        if content >= BATCH_BYTES || (lines_done > 0 && lines_done % limit == 0) {
            let following = Lines { last: next.last, ..Lines::default() };
            if sender.send(Ok(std::mem::replace(&mut next, following))).is_err() {
                return;
            }
            content = 0;
        }
    }
    if next.bytes > 0 {
        let _ = sender.send(Ok(next));
    }
}

/// An import under way.
struct Importing {
    writer: Writer,
    /// Say so after each durable batch.
    acknowledge: bool,
    durability: Durability,
    bar: Progress,
    /// The bar counts bytes of a known whole, and records where it is not known.
    in_bytes: bool,
    records: u64,
    /// Lines done, counted from the start of the input.
    done: u64,
}

impl Importing {
    fn write_batches(&mut self, batches: &Receiver<Result<Lines, Failure>>) -> Result<(), Failure> {
        loop {
            interrupt::check()?;
            let lines = match batches.recv_timeout(INTERRUPT_EVERY) {
                Ok(lines) => lines?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let written = self.writer.write(&lines.entries)?;
            if self.acknowledge {
                if let Some(lsn) = written.filter(|_| self.durability != Durability::Sync) {
                    self.writer.db.wait_durable(lsn)?;
                }
                say(format_args!("{{\"acknowledged\":{}}}", lines.last));
            }
            let records = lines.entries.len() as u64;
            self.records += records;
            self.done = lines.last;
            self.bar.add(if self.in_bytes { lines.bytes } else { records });
        }
    }
}

/// Makes batches of entries, and keyspaces where they name new ones.
struct Writer {
    db: Db,
    /// Where entries go that name no keyspace.
    default: KeyspaceId,
    known: HashMap<String, KeyspaceId>,
}

impl Writer {
    fn new(db: &Db, default: Option<&str>) -> Result<Writer, Failure> {
        let default = store::keyspace_to_write(db, default)?.id();
        Ok(Writer { db: db.clone(), default, known: HashMap::new() })
    }

    /// Writes entries as one batch, or as more than one if a segment cannot hold it. Says which LSN was the last.
    fn write(&mut self, entries: &[(u64, Entry)]) -> Result<Option<Lsn>, Failure> {
        if entries.is_empty() {
            return Ok(None);
        }
        let batch = self.batch(entries)?;
        match self.db.write(batch) {
            Ok(lsn) => Ok(Some(lsn)),
            Err(Error::TooLarge { limit, .. }) => {
                self.check_each(entries, limit)?;
                let (first, second) = entries.split_at(entries.len() / 2);
                self.write(first)?;
                self.write(second)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Names the line that is too large by itself, before any of its batch is written.
    fn check_each(&mut self, entries: &[(u64, Entry)], limit: u64) -> Result<(), Failure> {
        for entry in entries {
            let size = self.batch(std::slice::from_ref(entry))?.encoded_bytes() as u64;
            if size > limit {
                let cause = Failure::Store(Error::TooLarge { what: "batch", size, limit });
                return Err(Failure::Line { number: entry.0, cause: Box::new(cause) });
            }
        }
        Ok(())
    }

    fn batch(&mut self, entries: &[(u64, Entry)]) -> Result<WriteBatch, Failure> {
        let mut batch = WriteBatch::new();
        for (_, entry) in entries {
            let keyspace = match &entry.keyspace {
                None => self.default,
                Some(name) => self.keyspace(name)?,
            };
            batch.put_in(keyspace, &entry.key, &entry.value);
        }
        Ok(batch)
    }

    fn keyspace(&mut self, name: &str) -> Result<KeyspaceId, Failure> {
        if let Some(id) = self.known.get(name) {
            return Ok(*id);
        }
        let id = store::keyspace_to_write(&self.db, Some(name))?.id();
        self.known.insert(name.to_owned(), id);
        Ok(id)
    }
}
