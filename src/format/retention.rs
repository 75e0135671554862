//! What is kept of the log although recovery needs it no more: [`Retention`], and how it is written as text.
//!
//! Recovery needs the newest checkpoint and the segments behind it. What lies before them is the store's past: it can
//! be read (`log`, `why`), restored from, and serve when a checkpoint turns out to be damaged. A policy says how much
//! of it stays. It never makes anything go that is needed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How much of the past stays in the store's directory.
///
/// Segments that recovery needs no more are kept while *any*, or *all*, of some limits hold. Limits are counted over
/// just these segments, from the newest back. Without a limit, `any()` keeps nothing and `all()` keeps everything.
///
/// ```
/// use std::time::Duration;
/// use forelog::{Limit, Retention};
///
/// let policy: Retention = "any(count:8,age:7d)".parse()?;
/// assert_eq!(policy, Retention::Any(vec![Limit::Count(8), Limit::Age(Duration::from_secs(7 * 24 * 3600))]));
/// assert_eq!(policy.to_string(), "any(count:8,age:7d)");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Kept while at least one of these holds.
    Any(Vec<Limit>),
    /// Kept while each of these holds.
    All(Vec<Limit>),
}

impl Default for Retention {
    /// `any()`: nothing that recovery does not need.
    fn default() -> Retention {
        Retention::Any(Vec::new())
    }
}

/// A limit of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Up to this many segments.
    Count(u64),
    /// Segments of up to this many bytes together, by their length on disk.
    Bytes(u64),
    /// Segments whose last record is not older than this. A clock that runs backwards only keeps them longer.
    Age(Duration),
}

/// A segment that recovery needs no more, as a policy sees it.
///
/// ```
/// use std::time::Duration;
/// use forelog::format::retention::{Limit, Past, Retention};
///
/// let third = Past { count: 3, bytes: 3 << 20, age: Duration::from_secs(60) };
/// assert!(Limit::Bytes(4 << 20).holds(&third) && !Limit::Count(2).holds(&third));
/// let any: Retention = "any(count:2,age:1h)".parse()?;
/// assert_eq!(any.keeps(&third).as_deref(), Some("age:1h")); // the reason that `prune` tells
/// let all: Retention = "all(count:2,age:1h)".parse()?;
/// assert_eq!(all.keeps(&third), None);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// How many such segments there are from the newest to this one, itself included.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long ago its last record was written.
    pub age: Duration,
}

impl Limit {
    /// Whether the segment is within the limit.
    pub fn holds(&self, past: &Past) -> bool {
        match self {
            Limit::Count(most) => past.count <= *most,
            Limit::Bytes(most) => past.bytes <= *most,
            Limit::Age(most) => past.age <= *most,
        }
    }
}

impl Retention {
    /// The limit for which a segment is kept; `None` if it goes. With `all(…)`, the whole policy is the reason.
    pub fn keeps(&self, past: &Past) -> Option<String> {
        match self {
            Retention::Any(limits) => limits.iter().find(|limit| limit.holds(past)).map(Limit::to_string),
            Retention::All(limits) => limits.iter().all(|limit| limit.holds(past)).then(|| self.to_string()),
        }
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES_MS: [(&str, u64); 5] =
    [("d", 24 * 3_600_000), ("h", 3_600_000), ("m", 60_000), ("ms", 1), ("s", 1000)];

/// The largest unit that states the number exactly.
fn with_unit(number: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let unit = units.iter().find(|(_, size)| number > 0 && number.is_multiple_of(*size));
    unit.map_or(format!("{number}{smallest}"), |(name, size)| format!("{}{name}", number / size))
}

fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let size = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(size)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Count(most) => write!(f, "count:{most}"),
            Limit::Bytes(most) => write!(f, "bytes:{}", with_unit(*most, &UNITS, "B")),
            Limit::Age(most) => {
                let ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
                let mut units = TIMES_MS;
                units.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
                write!(f, "age:{}", with_unit(ms, &units, "ms"))
            }
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        let unknown = || format!("{text:?} is none of count:8, bytes:1GiB, age:7d");
        let (what, most) = text.split_once(':').ok_or_else(unknown)?;
        let limit = match what {
            "count" => most.parse().ok().map(Limit::Count),
            "bytes" => parse_with_unit(most, &UNITS).or_else(|| most.parse().ok()).map(Limit::Bytes),
            "age" => parse_with_unit(most, &TIMES_MS).map(Duration::from_millis).map(Limit::Age),
            _ => None,
        };
        limit.ok_or_else(unknown)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, limits) = match self {
            Retention::Any(limits) => ("any", limits),
            Retention::All(limits) => ("all", limits),
        };
        let limits: Vec<String> = limits.iter().map(Limit::to_string).collect();
        write!(f, "{name}({})", limits.join(","))
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Retention, String> {
        let unknown = || format!("{text:?} is neither any(…) nor all(…) of count:8, bytes:1GiB, age:7d");
        let (name, rest) = text.split_once('(').ok_or_else(unknown)?;
        let list = rest.strip_suffix(')').ok_or_else(unknown)?;
        let limits = list
            .split(',')
            .map(str::trim)
            .filter(|_| !list.trim().is_empty())
            .map(str::parse)
            .collect::<Result<Vec<Limit>, String>>()?;
        match name.trim() {
            "any" => Ok(Retention::Any(limits)),
            "all" => Ok(Retention::All(limits)),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Shows which texts are taken, that they are printed as they are read, and what each policy keeps.
    use super::*;

    #[test]
    fn texts() {
        for text in
            ["any()", "all()", "any(count:8)", "all(bytes:1GiB,age:7d)", "any(age:90m,bytes:1000B,count:0)"]
        {
            assert_eq!(text.parse::<Retention>().map(|policy| policy.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("bytes:2048".parse::<Limit>().map(|limit| limit.to_string()), Ok("bytes:2KiB".to_owned()));
        assert_eq!("age:3600s".parse::<Limit>().map(|limit| limit.to_string()), Ok("age:1h".to_owned()));
        assert_eq!(
            "any( count:1 , count:2 )".parse::<Retention>().unwrap().to_string(),
            "any(count:1,count:2)"
        );
        for text in
            ["", "any", "any(", "some()", "any(count)", "any(count:x)", "any(age:7)", "any(bytes:1TB)"]
        {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
        assert!("any(age:99999999999999999999d)".parse::<Retention>().is_err());
    }

    #[test]
    fn what_is_kept() {
        let past = Past { count: 3, bytes: 3000, age: Duration::from_secs(60) };
        for (policy, kept) in [
            ("any()", false),
            ("all()", true),
            ("any(count:2)", false),
            ("any(count:3)", true),
            ("any(count:2,bytes:3000)", true),
            ("all(count:2,bytes:3000)", false),
            ("all(count:3,age:60s)", true),
            ("all(count:3,age:59s)", false),
        ] {
            let policy: Retention = policy.parse().unwrap();
            assert_eq!(policy.keeps(&past).is_some(), kept, "{policy}");
        }
    }
}
