//! The names of a store's files.
//!
//! ```text
//!  data/
//!  ├── LOCK                        held by whoever has the store open
//!  ├── MANIFEST                    which files are the store
//!  ├── 00000000000000000001.wal    a segment, named by the LSN of its first record
//!  ├── 00000000000000004711.wal
//!  ├── 00000000000000004700-3-0.ckpt   a checkpoint at LSN 4700: part 0, of manifest 3
//!  ├── spare.tmp, MANIFEST.tmp     under construction; removed by the next opening
//!  └── lost/                       what recovery cut off, kept
//! ```
//!
//! Twenty digits hold every `u64`, so that the order of the names is the order of the LSNs.
//!
//! ```
//! use forelog::Lsn;
//! use forelog::format::names::{self, ARCHIVE_OWNER, LOCK, LOST, MANIFEST, MANIFEST_TMP, SPARE_TMP};
//!
//! fn what(name: &str) -> &'static str {
//!     match name {
//!         LOCK | MANIFEST | LOST | ARCHIVE_OWNER => "one of a kind",
//!         _ if names::is_tmp(name) => "under construction",
//!         _ if names::parse_segment(name).is_some() => "a segment",
//!         _ if names::is_part(name) => "a part of a checkpoint",
//!         _ if names::is_archived(name) => "in an archive",
//!         _ => "not ours",
//!     }
//! }
//!
//! let (base, last) = (Lsn::new(1), Lsn::new(4700));
//! assert_eq!(what(&names::segment(base)), "a segment");
//! assert_eq!(what(&names::part(last, 3, 0)), "a part of a checkpoint");
//! assert_eq!(what(&names::archived(base, last)), "in an archive");
//! assert_eq!(what(&names::archived_checkpoint(last, 3)), "in an archive");
//! assert_eq!((what(SPARE_TMP), what(MANIFEST_TMP)), ("under construction", "under construction"));
//! assert_eq!(what("notes.tmp"), "not ours");
//!
//! // Each name tells what it was made of.
//! assert_eq!(names::parse_part("00000000000000004700-3-0.ckpt"), Some((last, 3, 0)));
//! assert_eq!(names::parse_archived("00000000000000000001-00000000000000004700.wal"), Some((base, last)));
//! assert_eq!(names::parse_archived_manifest("00000000000000004700-3.manifest"), Some((last, 3)));
//! assert_eq!(names::parse_archived_checkpoint("00000000000000004700-3.manifest"), Some(last));
//! ```

use crate::lsn::Lsn;

/// The lock file.
pub const LOCK: &str = "LOCK";
/// The manifest.
pub const MANIFEST: &str = "MANIFEST";
/// A manifest under construction.
pub const MANIFEST_TMP: &str = "MANIFEST.tmp";
/// A segment under construction.
pub const SPARE_TMP: &str = "spare.tmp";
/// The directory that keeps what was cut off.
pub const LOST: &str = "lost";

/// The name of the segment that begins at `base`.
pub fn segment(base: Lsn) -> String {
    format!("{:020}.wal", base.get())
}

/// The base of the segment of this name, or `None` for any other name.
pub fn parse_segment(name: &str) -> Option<Lsn> {
    parse_lsn(name.strip_suffix(".wal")?).filter(|base| *base > Lsn::ZERO)
}

/// As it stands in names: 20 digits.
fn parse_lsn(digits: &str) -> Option<Lsn> {
    let are_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().ok())?.map(Lsn::new)
}

/// The file of an archive that says whose it is: the store's id in 32 hexadecimal digits.
pub const ARCHIVE_OWNER: &str = "STORE";

/// What the name of a compressed object of an archive ends in; see `storage::Compressed`.
const COMPRESSED: &str = ".lz4";

/// The name of an archived segment: its first and its last LSN.
pub fn archived(base: Lsn, last: Lsn) -> String {
    format!("{:020}-{:020}.wal", base.get(), last.get())
}

/// The first and the last LSN of the archived segment of this name.
pub fn parse_archived(name: &str) -> Option<(Lsn, Lsn)> {
    let (base, last) = name.strip_suffix(".wal")?.split_once('-')?;
    let lsns = parse_lsn(base).zip(parse_lsn(last));
    lsns.filter(|(base, last)| *base > Lsn::ZERO && base <= last)
}

/// The name under which the manifest of an archived checkpoint stands: a manifest that names this one alone.
pub fn archived_checkpoint(lsn: Lsn, generation: u64) -> String {
    format!("{:020}-{generation}.manifest", lsn.get())
}

/// The LSN of the checkpoint of which this is the archived manifest's name.
pub fn parse_archived_checkpoint(name: &str) -> Option<Lsn> {
    parse_archived_manifest(name).map(|(lsn, _)| lsn)
}

/// The LSN and the generation of the checkpoint of which this is the archived manifest's name.
pub fn parse_archived_manifest(name: &str) -> Option<(Lsn, u64)> {
    let (lsn, generation) = name.strip_suffix(".manifest")?.split_once('-')?;
    let is_number = generation.bytes().all(|byte| byte.is_ascii_digit());
    Some((parse_lsn(lsn)?, generation.parse().ok().filter(|_| is_number)?))
}

/// True for a name that only an archive has: that of a segment or of a checkpoint's manifest, compressed or not.
pub fn is_archived(name: &str) -> bool {
    let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
    parse_archived(name).is_some() || parse_archived_checkpoint(name).is_some()
}

/// The name of a part of the checkpoint at `lsn` that was taken for the manifest of this generation. A generation is
/// used once, so the name is never used for another file.
pub fn part(lsn: Lsn, generation: u64, part: u32) -> String {
    format!("{:020}-{generation}-{part}.ckpt", lsn.get())
}

/// True for the name of a checkpoint's part.
pub fn is_part(name: &str) -> bool {
    parse_part(name).is_some()
}

/// The LSN, the generation and the number of the part of this name.
pub fn parse_part(name: &str) -> Option<(Lsn, u64, u32)> {
    let mut fields = name.strip_suffix(".ckpt")?.split('-');
    let (lsn, generation, part) = (fields.next()?, fields.next()?, fields.next()?);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fields.next().is_some() || !are_digits(generation) || !are_digits(part) {
        return None;
    }
    Some((parse_lsn(lsn)?, generation.parse().ok()?, part.parse().ok()?))
}

/// True for a file of ours that was under construction when its process ended. Anybody else's `*.tmp` is none.
pub fn is_tmp(name: &str) -> bool {
    [SPARE_TMP, MANIFEST_TMP].contains(&name)
}

#[cfg(test)]
mod tests {
    //! Shows that names sort as LSNs do and that only exact names are taken for segments.
    use super::*;

    #[test]
    fn archived_files() {
        let name = archived(Lsn::new(7), Lsn::new(42));
        assert_eq!(name, "00000000000000000007-00000000000000000042.wal");
        assert_eq!(parse_archived(&name), Some((Lsn::new(7), Lsn::new(42))));
        assert_eq!((parse_segment(&name), parse_archived(&segment(Lsn::new(7)))), (None, None));
        assert_eq!(parse_archived(&archived(Lsn::new(7), Lsn::new(6))), None);
        assert_eq!(parse_archived(&archived(Lsn::ZERO, Lsn::new(6))), None, "there is no such first LSN");
        assert_eq!(parse_archived_checkpoint(&archived_checkpoint(Lsn::new(7), 3)), Some(Lsn::new(7)));
        assert_eq!(parse_archived_checkpoint(&archived_checkpoint(Lsn::ZERO, 1)), Some(Lsn::ZERO));
        let other = |name| parse_archived_checkpoint(name).is_none();
        assert!(other("7-3.manifest") && other("MANIFEST") && other("00000000000000000007-.manifest"));
        for name in [name, archived_checkpoint(Lsn::new(7), 3)] {
            assert!(is_archived(&name) && is_archived(&format!("{name}.lz4")));
        }
        assert!(!is_archived(ARCHIVE_OWNER) && !is_archived(&segment(Lsn::new(7))));
    }

    #[test]
    fn parts_of_checkpoints() {
        assert_eq!(part(Lsn::new(42), 3, 0), "00000000000000000042-3-0.ckpt");
        assert!(is_part(&part(Lsn::new(42), u64::MAX, u32::MAX)));
        assert_eq!(parse_part(&part(Lsn::new(42), 3, 5)), Some((Lsn::new(42), 3, 5)));
        let lsn = "00000000000000000042";
        for other in ["42-3-0", "{}-3", "{}-3-x", "{}-x-3", "{}-+3-0", "{}-3-+0", "{}-3-0-0", "a"] {
            let other = format!("{}.ckpt", other.replace("{}", lsn));
            assert!(!is_part(&other), "{other}");
        }
    }

    #[test]
    fn files_under_construction() {
        assert!(is_tmp(SPARE_TMP) && is_tmp(MANIFEST_TMP) && !is_tmp("mine.tmp"));
    }

    #[test]
    fn names() {
        assert_eq!(segment(Lsn::new(42)), "00000000000000000042.wal");
        assert_eq!(parse_segment("00000000000000000042.wal"), Some(Lsn::new(42)));
        assert!(segment(Lsn::new(2)) < segment(Lsn::new(10)));
        for other in
            ["42.wal", "00000000000000000000.wal", "0000000000000000004x.wal", "99999999999999999999.wal"]
        {
            assert_eq!(parse_segment(other), None, "{other}");
        }
    }
}
