//! The shell's commands on the store. Each does what the command of its name does on the command line.

use std::path::Path;

use forelog::{Keyspace, WriteBatch};

use super::session::Session;
use super::verb::Call;
use crate::commands::inspect::Place;
use crate::commands::scan::{Keys, Scan};
use crate::commands::{
    checkpoint as checkpoint_command, data, info as info_command, inspect as inspect_command,
    log as log_command, scan as scan_command, verify as verify_command,
};
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::store;

pub fn put(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let space = match call.value_text("keyspace")? {
        None => session.space.clone(),
        name => store::keyspace_to_write(&session.db, name)?,
    };
    match &mut session.batch {
        None => data::put(&space, call.arg(0), call.arg(1), &mut session.app.out),
        Some(batch) => {
            batch.put_in(space.id(), call.arg(0), call.arg(1));
            Ok(Outcome::Done)
        }
    }
}

pub fn get(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let outcome = data::get(&space(session, call)?, call.arg(0), &mut session.app.out)?;
    if session.interactive && outcome == Outcome::Negative {
        say("(absent)");
    }
    Ok(outcome)
}

pub fn del(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let space = space(session, call)?;
    match &mut session.batch {
        None => data::del(&space, call.arg(0), &mut session.app.out),
        Some(batch) => {
            batch.delete_in(space.id(), call.arg(0));
            Ok(Outcome::Done)
        }
    }
}

pub fn scan(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let limit = call.number("limit")?;
    let request = Scan {
        keys: Keys { from: owned(call, "from"), to: owned(call, "to"), prefix: owned(call, "prefix") },
        // A limit beyond what can be counted is none.
        limit: limit.and_then(|limit| usize::try_from(limit).ok()),
        reverse: call.flag("reverse"),
        keys_only: call.flag("keys-only"),
    };
    scan_command::scan(&space(session, call)?, request, &mut session.app.out)
}

pub fn count(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let keys = Keys { prefix: owned(call, "prefix"), ..Keys::default() };
    scan_command::count(&space(session, call)?, keys, &mut session.app.out)
}

pub fn keyspaces(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    scan_command::keyspaces(&session.db, &mut session.app.out)
}

pub fn batch(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    if session.batch.is_some() {
        return Err(Failure::Usage("a batch is open already; commit or abort ends it".to_owned()));
    }
    session.batch = Some(WriteBatch::new());
    Ok(Outcome::Done)
}

pub fn commit(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let batch = open_batch(session)?;
    if batch.is_empty() {
        return Ok(Outcome::Done);
    }
    data::write(&session.db, batch, &mut session.app.out)
}

pub fn abort(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    open_batch(session)?;
    Ok(Outcome::Done)
}

pub fn sync(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let lsn = session.db.sync()?;
    session.app.out.record(&[("lsn", lsn.into())])?;
    Ok(Outcome::Done)
}

pub fn checkpoint(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let outcome = checkpoint_command::checkpoint(&session.db, &mut session.app.out)?;
    store::say_failures(&session.db, &session.app.globals);
    Ok(outcome)
}

pub fn info(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    info_command::info(&session.db, &session.dir, &mut session.app.out)
}

pub fn log(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let request = log_command::Log {
        from_lsn: call.number("from-lsn")?.map(Into::into),
        to_lsn: call.number("to-lsn")?.map(Into::into),
        key: owned(call, "key"),
        stats: call.flag("stats"),
        hex: call.flag("hex"),
    };
    session.settle();
    log_command::log(&session.dir, &request, &mut session.app.out)
}

pub fn inspect(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    session.settle();
    let file = Path::new(call.text(0)?.unwrap_or_default());
    let mut place = Place::parse(file)?;
    let own = session.dir.join(&place.path);
    if own.exists() {
        place.path = own;
    }
    inspect_command::inspect(&place, &mut session.app.out)
}

pub fn verify(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    session.settle();
    verify_command::verify(&session.dir, &mut session.app.out)
}

/// The keyspace that a command reads.
fn space(session: &Session<'_>, call: &Call) -> Result<Keyspace, Failure> {
    match call.value_text("keyspace")? {
        None => Ok(session.space.clone()),
        name => store::keyspace_to_read(&session.db, name),
    }
}

fn open_batch(session: &mut Session<'_>) -> Result<WriteBatch, Failure> {
    session.batch.take().ok_or_else(|| Failure::Usage("no batch is open; batch opens one".to_owned()))
}

fn owned(call: &Call, option: &str) -> Option<Vec<u8>> {
    call.value(option).map(<[u8]>::to_vec)
}
