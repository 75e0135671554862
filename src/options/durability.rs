//! When a write is acknowledged: [`Durability`], and how it is written as text; how one write is done, [`WriteOptions`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// When a write is acknowledged, and so what an acknowledged write survives.
///
/// | | acknowledged when | process crash, kill -9 | power cut, kernel crash |
/// | --- | --- | --- | --- |
/// | `Sync` | synced | survives | **survives** |
/// | `Interval(d)` | written; synced at most `d` later | survives | survives if it is older than `d` and a sync |
/// | `Buffered` | written | survives | lost unless something synced later |
///
/// Whatever is chosen: after a crash the store is the state after some LSN, so a lost write never stands before one
/// that survived, and a batch is whole or absent.
///
/// ```
/// use std::time::Duration;
/// use forelog::Durability;
///
/// assert_eq!("interval:250ms".parse(), Ok(Durability::Interval(Duration::from_millis(250))));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged once it survives a power cut. Writes that arrive together share a sync.
    #[default]
    Sync,
    /// Acknowledged once it is written; a background thread begins to sync at most this much later, or as soon as it is
    /// done with the one thing that it may be doing then (the next segment's file). Not 0, which would be `Sync`.
    Interval(Duration),
    /// Acknowledged once it is handed to the operating system.
    ///
    /// Visibility keeps the log's order, so a `Buffered` or `Interval` write that stands behind a `Sync` one, or comes
    /// at the same time, waits for that one's sync, and fails with it.
    Buffered,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Sync => f.write_str("sync"),
            // Rounded up, so that it can be read back: an interval of 0 is none.
            Durability::Interval(delay) => write!(f, "interval:{}ms", delay.as_nanos().div_ceil(1_000_000)),
            Durability::Buffered => f.write_str("buffered"),
        }
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Durability, String> {
        match text {
            "sync" => return Ok(Durability::Sync),
            "buffered" => return Ok(Durability::Buffered),
            _ => {}
        }
        let unknown = || format!("{text:?} is none of sync, interval:250ms, interval:1s, buffered");
        let delay = text.strip_prefix("interval:").ok_or_else(unknown)?;
        let (digits, to_ms) = match (delay.strip_suffix("ms"), delay.strip_suffix('s')) {
            (Some(digits), _) => (digits, 1),
            (None, Some(digits)) => (digits, 1000),
            (None, None) => return Err(unknown()),
        };
        let number: u64 = digits.parse().map_err(|_| unknown())?;
        if number == 0 {
            return Err("an interval of 0 is sync; say sync".to_owned());
        }
        let ms = number.checked_mul(to_ms).ok_or_else(unknown)?;
        Ok(Durability::Interval(Duration::from_millis(ms)))
    }
}

/// The shortest time within which any of these must be synced; `None` if there is no such time.
pub(crate) fn shortest_interval(wanted: impl Iterator<Item = Durability>) -> Option<Duration> {
    let delays = wanted.filter_map(|durability| match durability {
        Durability::Interval(delay) => Some(delay),
        Durability::Sync | Durability::Buffered => None,
    });
    delays.min()
}

/// How one write is done, where it differs from the store's options.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    pub(crate) durability: Option<Durability>,
}

impl WriteOptions {
    /// As the store does it.
    pub fn new() -> WriteOptions {
        WriteOptions::default()
    }

    /// When this write is acknowledged.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> WriteOptions {
        self.durability = Some(durability);
        self
    }
}

#[cfg(test)]
mod tests {
    //! Shows which durability texts are taken, and that they are printed as they are read.
    use super::*;

    #[test]
    fn durability_texts() {
        assert_eq!(Durability::Interval(Duration::from_micros(500)).to_string(), "interval:1ms");
        for text in ["sync", "buffered", "interval:250ms"] {
            assert_eq!(text.parse::<Durability>().map(|d| d.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("interval:2s".parse(), Ok(Durability::Interval(Duration::from_secs(2))));
        for text in ["", "Sync", "interval", "interval:", "interval:0s", "interval:5", "interval:-1s"] {
            assert!(text.parse::<Durability>().is_err(), "{text}");
        }
    }
}
