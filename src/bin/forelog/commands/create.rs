//! `create`: a new store. Every other writing command creates one, too; this one can choose its options.

use std::path::{self, Path};

use forelog::format::names;

use super::App;
use crate::args::Create;
use crate::failure::{Failure, Outcome};
use crate::store;

pub fn run(args: &Create, app: &mut App) -> Result<Outcome, Failure> {
    // Looked at first, because opening would give the new options to a store that is there.
    if args.dir.join(names::MANIFEST).exists() {
        return Err(there_is_one(args));
    }
    let mut options = store::options(&app.globals);
    if let Some(bytes) = args.segment_bytes {
        options = options.segment_bytes(bytes);
    }
    if let Some(checksum) = args.checksum {
        options = options.checksum(checksum);
    }
    if let Some(policy) = &args.retention {
        options = options.retention(policy.clone());
    }
    if let Some(count) = args.keep_checkpoints {
        options = options.keep_checkpoints(count);
    }
    if let Some(bytes) = args.checkpoint_after {
        options = options.checkpoint_after_bytes(Some(bytes));
    }
    if let Some(archive) = &args.archive {
        check_archive(archive, &args.dir)?;
        options = options.archive(Some(archive));
    }
    let db = store::open_with(&args.dir, options, &app.globals)?;
    let created = db.created();
    store::close(db, &app.globals)?;
    if created { Ok(Outcome::Done) } else { Err(there_is_one(args)) }
}

/// What could never work would only be told by the first checkpoint, long after.
fn check_archive(archive: &Path, dir: &Path) -> Result<(), Failure> {
    if archive.exists() && !archive.is_dir() {
        return Err(Failure::Usage(format!("{} is no directory, and an archive is one", archive.display())));
    }
    let absolute = |path: &Path| path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if absolute(archive).starts_with(absolute(dir)) {
        let reason = "an archive inside of its store would be lost with it; choose another directory";
        return Err(Failure::Usage(format!("{}: {reason}", archive.display())));
    }
    Ok(())
}

fn there_is_one(args: &Create) -> Failure {
    Failure::Usage(format!("there is a store in {} already", args.dir.display()))
}
