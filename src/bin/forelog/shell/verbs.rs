//! The shell's commands on the store. Each does what the command of its name does on the command line.

use std::path::Path;

use forelog::storage::Rest;
use forelog::{Keyspace, RestoreTarget, WriteBatch};

use super::lab::{Crash, Lab};
use super::options;
use super::session::Session;
use super::tour;
use super::verb::Call;
use crate::commands::App;
use crate::commands::inspect::Place;
use crate::commands::scan::{Keys, Scan};
use crate::commands::{
    checkpoint as checkpoint_command, copies as copies_command, data, info as info_command,
    inspect as inspect_command, log as log_command, map as map_command, scan as scan_command,
    verify as verify_command, why as why_command,
};
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::store;

pub fn put(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let space = match call.value_text("keyspace")? {
        None => session.space()?,
        name => store::keyspace_to_write(session.db()?, name)?,
    };
    write(session, &space, call.arg(0), |batch| batch.put_in(space.id(), call.arg(0), call.arg(1)))
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
    write(session, &space, call.arg(0), |batch| batch.delete_in(space.id(), call.arg(0)))
}

/// One operation: into the open batch, or written by itself.
fn write(
    session: &mut Session<'_>,
    space: &Keyspace,
    key: &[u8],
    add: impl FnOnce(&mut WriteBatch),
) -> Result<Outcome, Failure> {
    if let Some(batch) = &mut session.batch {
        add(batch);
        return Ok(Outcome::Done);
    }
    if let Some(before) = space.range(key..=key).next() {
        session.trace.will_hide(key, before.lsn());
    }
    let mut batch = WriteBatch::new();
    add(&mut batch);
    commit_batch(session, batch)
}

fn commit_batch(session: &mut Session<'_>, batch: WriteBatch) -> Result<Outcome, Failure> {
    let lsn = session.db()?.write_with(batch, &session.write_options())?;
    data::written(lsn, &mut session.app.out)
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
    let db = session.db()?.clone();
    scan_command::keyspaces(&db, &mut session.app.out)
}

pub fn drop_keyspace(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let lsn = session.db()?.drop_keyspace(call.text(0)?.unwrap_or_default())?;
    data::written(lsn, &mut session.app.out)
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
    commit_batch(session, batch)
}

pub fn abort(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    open_batch(session)?;
    Ok(Outcome::Done)
}

pub fn sync(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let lsn = session.db()?.sync()?;
    session.app.out.record(&[("lsn", lsn.into())])?;
    Ok(Outcome::Done)
}

pub fn checkpoint(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let db = session.db()?.clone();
    let outcome = checkpoint_command::checkpoint(&db, &mut session.app.out)?;
    store::say_failures(&db, &session.app.globals);
    Ok(outcome)
}

pub fn prune(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let db = session.db()?.clone();
    let outcome = checkpoint_command::prune(&db, call.flag("dry-run"), &mut session.app.out)?;
    store::say_failures(&db, &session.app.globals);
    Ok(outcome)
}

pub fn info(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let db = session.db()?.clone();
    info_command::info(&db, &session.site, &mut session.app.out)
}

pub fn log(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let request = log_command::Log {
        from_lsn: call.number("from-lsn")?.map(Into::into),
        to_lsn: call.number("to-lsn")?.map(Into::into),
        key: owned(call, "key"),
        stats: call.flag("stats"),
        hex: call.flag("hex"),
        follow: false,
    };
    session.settle();
    log_command::log(&session.site, &request, &mut session.app.out)
}

pub fn inspect(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    session.settle();
    let file = Path::new(call.text(0)?.unwrap_or_default());
    let place = Place::parse(file, &session.site)?;
    inspect_command::inspect(&place, &session.site, &mut session.app.out)
}

pub fn verify(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    session.settle();
    verify_command::verify(&session.site, &mut session.app.out)
}

pub fn map(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    session.settle();
    map_command::map(&session.site, &mut session.app.out)
}

pub fn why(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    session.settle();
    let space = space(session, call)?;
    why_command::why(&session.site, &space, call.arg(0), &mut session.app.out)
}

pub fn crash(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let seed = call.number("seed")?.unwrap_or(1);
    let crash = match (call.flag("process"), call.value_text("tail")?) {
        (true, None) => Crash::Process,
        (true, Some(_)) => {
            let why =
                "--process leaves no tail: what was written is with the operating system, which goes on";
            return Err(Failure::Usage(why.to_owned()));
        }
        (false, None | Some("cut")) if !call.flag("seed") => Crash::Cut,
        (false, None | Some("cut")) => Crash::Torn { rest: Rest::Old, seed },
        (false, Some("zero")) => Crash::Torn { rest: Rest::Zero, seed },
        (false, Some("garbage")) => Crash::Torn { rest: Rest::Garbage, seed },
        (false, Some(other)) => {
            return Err(Failure::Usage(format!("--tail: {other:?} is none of cut, zero, garbage")));
        }
    };
    session.db()?;
    let dropped = session.batch.take().map_or(0, |batch| batch.len());
    let Session { lab: Some(lab), open, trace, .. } = session else { return Err(only_in_the_lab("crash")) };
    let Some(db) = open.take() else { return Ok(Outcome::Done) };
    let unsynced = lab.crash(db, crash);
    session.site = lab.site();
    // What the engine that is gone had to say of its end is of no use.
    trace.take();
    if dropped > 0 {
        say(format_args!("the open batch of {dropped} is gone: it was nowhere but in the process"));
    }
    say(match crash {
        Crash::Process => format!("the process is dead; records that were not synced: {unsynced}"),
        _ => format!("the power is off; records that were not synced: {unsynced}"),
    });
    Ok(Outcome::Done)
}

pub fn recover(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let Session { lab: Some(lab), app, trace, .. } = session else { return Err(only_in_the_lab("recover")) };
    let App { globals, out } = &mut **app;
    let open = |lab: &Lab| store::open_with(&lab.site().dir, lab.options(options(globals, trace)), globals);
    let db = lab.recover(open, out)?;
    session.open = Some(db);
    Ok(Outcome::Done)
}

pub fn restore(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    session.settle();
    let target = call.number("to-lsn")?.map_or(RestoreTarget::Latest, |lsn| RestoreTarget::Lsn(lsn.into()));
    let [from, into] = [call.text(0)?, call.text(1)?].map(Option::unwrap_or_default);
    copies_command::restore(session.site.disk.clone(), from.as_ref(), into.as_ref(), target, session.app)
}

pub fn tour(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    match &session.lab {
        None => Err(only_in_the_lab("tour")),
        Some(lab) if lab.is_damaged() => Err(Failure::Usage(tour::NEEDS_A_NEW_LAB.to_owned())),
        Some(_) => tour::run(session),
    }
}

pub fn damage(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let Session { lab: Some(lab), site, app, .. } = session else { return Err(only_in_the_lab("damage")) };
    let place = Place::parse(Path::new(call.text(0)?.unwrap_or_default()), site)?;
    let Some(offset) = place.offset else {
        return Err(Failure::Usage("which byte? damage FILE@OFFSET".to_owned()));
    };
    let (before, after) = lab.damage(&place.path, offset)?;
    let path = place.path.display();
    app.globals.say(format_args!("byte {offset} of {path} was {before:#04x}, and is {after:#04x}"));
    Ok(Outcome::Done)
}

fn only_in_the_lab(verb: &str) -> Failure {
    Failure::Usage(format!("{verb} needs a disk that may come to harm: `forelog lab` has a simulated one"))
}

/// The keyspace that a command reads.
fn space(session: &Session<'_>, call: &Call) -> Result<Keyspace, Failure> {
    match call.value_text("keyspace")? {
        None => session.space(),
        name => store::keyspace_to_read(session.db()?, name),
    }
}

fn open_batch(session: &mut Session<'_>) -> Result<WriteBatch, Failure> {
    session.batch.take().ok_or_else(|| Failure::Usage("no batch is open; batch opens one".to_owned()))
}

fn owned(call: &Call, option: &str) -> Option<Vec<u8>> {
    call.value(option).map(<[u8]>::to_vec)
}
