//! Events as those of the `tracing` crate, and work as its spans. Only with the feature `tracing`; without it nothing is
//! built, and [`span`] is nothing.

/// What goes on between its making and its end: opening, a checkpoint, a write.
#[cfg(feature = "tracing")]
pub(crate) struct Span(#[allow(dead_code)] tracing::span::EnteredSpan);

/// A span of this name, until it is dropped. One that many threads make many times a second is of the level `TRACE`.
#[cfg(feature = "tracing")]
pub(crate) fn span(work: &'static str, is_frequent: bool) -> Span {
    let span = match is_frequent {
        true => tracing::trace_span!("forelog", work),
        false => tracing::info_span!("forelog", work),
    };
    Span(span.entered())
}

/// Without the feature there are no spans.
#[cfg(not(feature = "tracing"))]
pub(crate) struct Span;

#[cfg(not(feature = "tracing"))]
pub(crate) fn span(_: &'static str, _: bool) -> Span {
    Span
}

/// Passes events on to `tracing`: failures as errors and warnings, what happens now and then as information, the steps of
/// each write as traces.
///
/// ```
/// use std::sync::Arc;
///
/// use forelog::Options;
/// use forelog::event::Traced;
///
/// let dir = tempfile::tempdir()?;
/// let db = Options::new().listener(Arc::new(Traced)).open(dir.path().join("data"))?;
/// db.put("a", "1")?; // whoever subscribes to `tracing` hears of it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Traced;

#[cfg(feature = "tracing")]
impl super::Listener for Traced {
    fn event(&self, event: &super::Event<'_>) {
        use super::Event;
        use tracing::{debug, error, info, trace, warn};

        match event {
            Event::Encoded { ops, bytes } => trace!(ops, bytes, "encoded"),
            Event::Appended { lsn, kind, file, offset, bytes } => {
                trace!(lsn = lsn.get(), kind = kind.name(), file, offset, bytes, "appended");
            }
            Event::Applied { lsn, ops, .. } => trace!(lsn = lsn.get(), ops, "applied"),
            Event::Synced { durable, took } => debug!(durable = durable.get(), ?took, "synced"),
            Event::Published { visible } => trace!(visible = visible.get(), "published"),
            Event::Rotated { base, file } => info!(base = base.get(), file, "rotated"),
            Event::Poisoned { cause } => error!(%cause, "poisoned: there will be no more writes"),
            Event::Checkpointed { lsn } => info!(lsn = lsn.get(), "took a checkpoint"),
            Event::Archived { files } => info!(files, "archived"),
            Event::CheckpointFailed { error } => {
                warn!(%error, "a checkpoint, or what follows it, has failed");
            }
            Event::Loaded { file, entries } => debug!(file, entries, "loaded"),
            Event::Replayed { file, records } => debug!(file, records, "replayed"),
        }
    }
}
