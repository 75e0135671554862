//! Goes through a log, decodes its batches, and knows the keyspaces by name.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use forelog::format::record::RecordKind;
use forelog::format::{KeyspaceId, Op, batch_body};
use forelog::wal::{LogReader, Record};
use forelog::{DEFAULT_KEYSPACE, Error, Lsn, care};

use super::Log;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{Cell, nobody_reads, say};
use crate::store::Site;

/// How often who follows a log looks for more.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// What comes next in a log.
pub enum Step<'a> {
    /// A record, and its operations.
    Record(&'a Record, &'a [Operation<'a>]),
    /// Nothing for now.
    Waiting,
}

/// A log that is being read from its beginning.
pub struct Walk {
    site: Site,
    reader: LogReader,
    keyspaces: HashMap<KeyspaceId, String>,
    /// False for a log alone: what its payloads mean is known to its owner only.
    is_store: bool,
}

impl Walk {
    /// Begins at the oldest record.
    pub fn open(site: &Site) -> Result<Walk, Failure> {
        let mut keyspaces = HashMap::from([(KeyspaceId::DEFAULT, DEFAULT_KEYSPACE.to_owned())]);
        // The log may begin after the record that created one.
        let known = care::keyspaces_on(site.disk.clone(), &site.dir);
        let is_store = known.is_ok();
        keyspaces.extend(known.unwrap_or_default());
        let reader = care::read_log_on(site.disk.clone(), &site.dir)?;
        if let Some(error) = reader.incomplete() {
            say(format_args!("forelog: what came before is missing: {error}"));
        }
        Ok(Walk { site: site.clone(), reader, keyspaces, is_store })
    }

    /// True if a writer has the log open.
    pub fn is_live(&self) -> bool {
        self.reader.is_live()
    }

    /// Hands every record that is meant to `each`, with its operations, until the log ends or `each` says false. Who follows
    /// the log is told when there is nothing more for now.
    pub fn each(
        mut self,
        request: &Log,
        mut each: impl FnMut(Step<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let first = request.from_lsn.unwrap_or(Lsn::ZERO);
        let last = request.to_lsn.unwrap_or(Lsn::MAX);
        let mut next = Lsn::ZERO;
        loop {
            interrupt::check()?;
            let Some(record) = self.reader.next() else {
                if !request.follow {
                    break;
                }
                each(Step::Waiting)?;
                self.wait_for_more(next)?;
                continue;
            };
            let record = record?;
            if record.lsn < next {
                continue;
            }
            if request.follow && next > Lsn::ZERO && record.lsn > next {
                return Err(Error::Compacted { oldest: record.lsn }.into());
            }
            next = record.lsn.next();
            if record.lsn > last {
                break;
            }
            // Decoded also before the first one that is meant, because it may name a keyspace.
            let mut ops = self.operations(&record);
            if record.lsn < first {
                continue;
            }
            if let Some(key) = &request.key {
                ops.retain(|op| op.key == Some(key));
                if ops.is_empty() {
                    continue;
                }
            }
            if !each(Step::Record(&record, &ops))? {
                break;
            }
        }
        Ok(())
    }

    /// Waits a moment, and looks again from `next` on.
    fn wait_for_more(&mut self, next: Lsn) -> Result<(), Failure> {
        thread::sleep(LOOKS_EVERY);
        if nobody_reads() {
            return Err(Failure::ClosedPipe);
        }
        self.reader = care::read_log_on(self.site.disk.clone(), &self.site.dir)?.skip_segments_before(next);
        Ok(())
    }

    fn operations<'r>(&mut self, record: &'r Record) -> Vec<Operation<'r>> {
        if record.kind != RecordKind::Data {
            return Vec::new();
        }
        if !self.is_store {
            return vec![Operation { value: Some(&record.payload), ..Operation::new("payload") }];
        }
        batch_body::ops(&record.payload)
            .map(|op| match op {
                Ok(op) => self.operation(op),
                Err(batch_body::BadBody) => Operation::new("unreadable"),
            })
            .collect()
    }

    fn operation<'r>(&mut self, op: Op<'r>) -> Operation<'r> {
        match op {
            Op::Put { keyspace, key, value } => {
                Operation { key: Some(key), value: Some(value), ..self.operation_in(keyspace, "put") }
            }
            Op::Delete { keyspace, key } => {
                Operation { key: Some(key), ..self.operation_in(keyspace, "delete") }
            }
            Op::CreateKeyspace { id, name } => {
                self.keyspaces.insert(id, name.to_owned());
                self.operation_in(id, "create_keyspace")
            }
            Op::DropKeyspace { id } => self.operation_in(id, "drop_keyspace"),
        }
    }

    /// A keyspace that was created before the log begins, and is gone, has a number only.
    fn operation_in(&self, id: KeyspaceId, op: &'static str) -> Operation<'static> {
        let name = self.keyspaces.get(&id).cloned().unwrap_or_else(|| format!("#{id}"));
        Operation { id: Some(id), keyspace: Some(name), ..Operation::new(op) }
    }
}

/// One operation of a record, as it is shown.
pub struct Operation<'r> {
    pub op: &'static str,
    /// The keyspace's number, which no other one has, and its name, which others may have had.
    pub id: Option<KeyspaceId>,
    pub keyspace: Option<String>,
    pub key: Option<&'r [u8]>,
    pub value: Option<&'r [u8]>,
}

impl Operation<'_> {
    pub fn new(op: &'static str) -> Operation<'static> {
        Operation { op, id: None, keyspace: None, key: None, value: None }
    }

    /// Its fields for machines: the keyspace is always named.
    pub fn fields(&self) -> [(&'static str, Cell<'_>); 4] {
        [
            ("op", Cell::text(self.op)),
            ("keyspace", self.keyspace.as_deref().map_or(Cell::Absent, Cell::text)),
            ("key", self.key.map_or(Cell::Absent, Cell::Bytes)),
            ("value", self.value.map_or(Cell::Absent, Cell::Bytes)),
        ]
    }

    /// Its fields as words for people: `put a 1`, `put [users] a 1`.
    pub fn words(&self) -> Cell<'_> {
        let mut fields = self.fields().map(|(_, cell)| cell);
        let keyspace = self.keyspace.as_deref().filter(|name| *name != DEFAULT_KEYSPACE);
        fields[1] = keyspace.map_or(Cell::Absent, |name| Cell::text(format!("[{name}]")));
        Cell::Words(fields.into())
    }
}
