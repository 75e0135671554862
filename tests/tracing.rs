//! Shows that whoever subscribes to `tracing` hears of what a store does, and within which work.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use forelog::event::Traced;
use forelog::storage::{Fault, FaultKind, OperationKind, SimDisk};
use support::{DIR, by_hand};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Notes the work that begins and ends, and the level and the message of each event.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Found(&'static str, String);

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == self.0 {
            self.1 = format!("{value:?}");
        }
    }
}

impl Subscriber for Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut work = Found("work", String::new());
        span.record(&mut work);
        self.note(format!("begins {}", work.1));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Found("message", String::new());
        event.record(&mut message);
        self.note(format!("{} {}", event.metadata().level(), message.1));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {
        self.note("ends".to_owned());
    }
}

#[test]
fn a_subscriber_hears_of_everything() {
    let notes = Notes::default();
    tracing::subscriber::with_default(notes.clone(), || {
        let disk = SimDisk::new(1);
        let db = by_hand(&disk).listener(Arc::new(Traced)).open(DIR).unwrap();
        assert_eq!(notes.take(), ["begins \"open\"", "ends"]);
        db.put("a", "1").unwrap();
        let write = [
            "begins \"write\"",
            "TRACE encoded",
            "TRACE appended",
            "TRACE applied",
            "DEBUG synced",
            "TRACE published",
            "ends",
        ];
        assert_eq!(notes.take(), write);
        db.checkpoint().unwrap();
        let taken = notes.take();
        assert_eq!(taken.first().unwrap(), "begins \"checkpoint\"");
        assert!(taken.contains(&"INFO took a checkpoint".to_owned()), "{taken:?}");
        disk.fail(Fault::new(FaultKind::SyncLost).on(OperationKind::Sync));
        assert!(db.put("b", "2").is_err());
        assert!(notes.take().contains(&"ERROR poisoned: there will be no more writes".to_owned()));
    });
}
