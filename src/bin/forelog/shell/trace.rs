//! What happens inside, told by the library's own events while it happens: `.trace on`.
//!
//! ```text
//!  encode   1 operation, 14 bytes
//!  append   LSN 43 → 00000000000000000001.wal @0x1a80, 64 bytes: 48 header, 14 payload, 2 padding
//!  apply    user:1@43 (invisible)
//!  sync     fdatasync 0.10 ms        ← survives a power cut from here on
//!  publish  visible 43 (hides user:1@17)
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use forelog::Lsn;
use forelog::event::{Event, Listener};
use forelog::format::record::{RECORD_HEADER_BYTES, RecordKind};
use forelog::format::{Op, batch_body};

use crate::escape::word;
use crate::output::signs;

/// Lines about events, until somebody takes them.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whether anybody wants them. ORDER: Relaxed; it is set between two commands.
    on: AtomicBool,
    /// Keys are content, which `--redact` hides.
    is_redacted: bool,
    lines: Mutex<Vec<String>>,
    /// How long the payload is that was encoded and is to be appended next.
    payload: Mutex<Option<u64>>,
    /// The version that the next write hides from readers: what the engine answered when it was asked before.
    hides: Mutex<Option<String>>,
}

impl Trace {
    /// One that nobody wants yet.
    pub fn new(is_redacted: bool) -> Trace {
        Trace { is_redacted, ..Trace::default() }
    }

    /// True if events are told.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Tells events from now on, or no more.
    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// The next write hides this version of a key.
    pub fn will_hide(&self, key: &[u8], lsn: Lsn) {
        if self.is_on() && !self.is_redacted {
            *self.hides.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{}@{lsn}", word(key)));
        }
    }

    /// The lines since the last call. What was expected and did not happen is forgotten.
    pub fn take(&self) -> Vec<String> {
        *self.hides.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.payload.lock().unwrap_or_else(PoisonError::into_inner) = None;
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Listener for Trace {
    fn event(&self, event: &Event<'_>) {
        if !self.is_on() {
            return;
        }
        let mut payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Encoded { bytes, .. } = event {
            *payload = Some(*bytes as u64);
        }
        let is_appended = matches!(event, Event::Appended { .. });
        let parts = if is_appended { payload.take() } else { None };
        drop(payload);
        if let Some(mut line) = describe(event, parts, self.is_redacted) {
            let is_seen = matches!(event, Event::Published { .. });
            if let Some(hidden) = is_seen.then(|| self.hides.lock().ok()?.take()).flatten() {
                line += &format!(" (hides {hidden})");
            }
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

/// `payload`: how many bytes of a record that was appended are its payload, if that is known.
fn describe(event: &Event<'_>, payload: Option<u64>, is_redacted: bool) -> Option<String> {
    Some(match event {
        Event::Encoded { ops, bytes } => format!(" encode   {}, {bytes} bytes", operations(*ops)),
        Event::Appended { lsn, kind, file, offset, bytes } => {
            let kind = match kind {
                RecordKind::Data => String::new(),
                mark => format!(", {}", mark.name()),
            };
            let parts = payload.map_or(String::new(), |payload| {
                let header = RECORD_HEADER_BYTES as u64;
                let padding = bytes.saturating_sub(header + payload);
                format!(": {header} header, {payload} payload, {padding} padding")
            });
            signs(&format!(" append   LSN {lsn} → {file} @{offset:#x}, {bytes} bytes{parts}{kind}"))
                .into_owned()
        }
        Event::Applied { lsn, ops, body } => {
            let what = match (batch_body::ops(body).next(), *ops) {
                (Some(Ok(Op::Put { key, .. } | Op::Delete { key, .. })), 1) if !is_redacted => {
                    format!("{}@{lsn}", word(key))
                }
                _ => format!("LSN {lsn}, {}", operations(*ops)),
            };
            format!(" apply    {what} (invisible)")
        }
        Event::Synced { durable, took } => {
            let took = took.as_secs_f64() * 1e3;
            let safe = signs("← survives a power cut from here on");
            format!(" sync     fdatasync {took:.2} ms, durable {durable}  {safe}")
        }
        Event::Published { visible } => format!(" publish  visible {visible}"),
        Event::Rotated { base, file } => format!(" rotate   LSN {base} begins {file}"),
        Event::Poisoned { cause } => format!(" poison   no more writes: {cause}"),
        Event::Checkpointed { lsn } => format!(" checkpt  the state at LSN {lsn} is on disk"),
        Event::Archived { files } => format!(" archive  {files} files copied and read back"),
        Event::CheckpointFailed { error } => format!(" checkpt  failed: {error}"),
        Event::Loaded { file, entries, .. } => format!(" load     {file}, {entries} entries"),
        Event::Replayed { file, records, .. } => format!(" replay   {file}, {records} records"),
        // `Event` is not exhaustive: what is not known here has no line.
        _ => return None,
    })
}

fn operations(count: usize) -> String {
    match count {
        1 => "1 operation".to_owned(),
        _ => format!("{count} operations"),
    }
}
