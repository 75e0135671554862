//! The shell's own commands, those with a dot.

use std::path::Path;

use clap::ValueEnum;

use super::script;
use super::session::{MAX_DEPTH, Session};
use super::table::VERBS;
use super::verb::{Call, Verb, unknown};
use crate::draft::Draft;
use crate::failure::{Failure, Outcome};
use crate::output::{Format, signs};

/// How many lines `.history` shows.
const HISTORY_LINES: usize = 20;

pub fn help(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let out = &mut session.app.out;
    if call.arg(0).is_empty() {
        for verb in VERBS {
            out.line(&format!("{:20}  {}", verb.brief(), verb.about))?;
        }
        return out.line(&signs(HELP_END)).map(|()| Outcome::Done);
    }
    let verb = Verb::find(call.arg(0)).ok_or_else(|| unknown(call.arg(0)))?;
    out.line(&format!("{:20}  {}", verb.brief(), verb.about))?;
    for option in verb.options {
        out.line(&format!("  {:18}  {}", option.usage(), option.about))?;
    }
    Ok(Outcome::Done)
}

const HELP_END: &str = r#"
… stands for options: .help scan. Words are separated by spaces; put "…" or '…'
around a word that holds one. \n \t \x00 \\ are escapes. Tab completes commands
and keys, Ctrl-C clears the line, Ctrl-D leaves."#;

pub fn format(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let Some(name) = call.text(0)? else {
        let name = session.app.out.format().to_possible_value();
        return tell(session, name.as_ref().map_or("", |value| value.get_name()));
    };
    let format = Format::from_str(name, false)
        .map_err(|_| Failure::Usage(format!("{name:?} is none of auto, table, plain, json, csv, raw")))?;
    session.app.out.set_format(format);
    Ok(Outcome::Done)
}

pub fn timer(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    match on_or_off(call)? {
        Some(on) => session.timer = on,
        None => return tell(session, if session.timer { "on" } else { "off" }),
    }
    Ok(Outcome::Done)
}

pub fn trace(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    match on_or_off(call)? {
        Some(on) => session.trace.set(on),
        None => return tell(session, if session.trace.is_on() { "on" } else { "off" }),
    }
    Ok(Outcome::Done)
}

pub fn durability(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let Some(text) = call.text(0)? else { return tell(session, &session.durability.to_string()) };
    session.durability = text.parse().map_err(Failure::Usage)?;
    Ok(Outcome::Done)
}

pub fn read(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let path = Path::new(call.text(0)?.unwrap_or_default());
    if session.depth == MAX_DEPTH {
        return Err(Failure::Usage(format!("files that .read files: no more than {MAX_DEPTH} deep")));
    }
    let mut lines = script::open(path)?;
    session.depth += 1;
    let result = script::run(session, &mut *lines, script::OnFailure::Stop);
    session.depth -= 1;
    result.map(|()| Outcome::Done)
}

pub fn open(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let dir = Path::new(call.text(0)?.unwrap_or_default());
    session.finish()?;
    session.turn_to(dir)?;
    Ok(Outcome::Done)
}

pub fn once(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let path = Path::new(call.text(0)?.unwrap_or_default());
    session.once = Some(Draft::new(path, call.flag("force"))?);
    Ok(Outcome::Done)
}

pub fn last(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    let Some((verb, call)) = session.last.take() else {
        return Err(Failure::Usage("nothing was read so far".to_owned()));
    };
    let limit = session.app.out.set_row_limit(None);
    let outcome = session.run_verb(verb, &call);
    session.app.out.set_row_limit(limit);
    session.last = Some((verb, call));
    outcome
}

pub fn history(session: &mut Session<'_>, call: &Call) -> Result<Outcome, Failure> {
    let count = match call.text(0)? {
        None => HISTORY_LINES,
        Some(text) => {
            text.parse().map_err(|_| Failure::Usage(format!("{text:?} is not a number of lines")))?
        }
    };
    let skipped = session.history.len().saturating_sub(count);
    for line in &session.history[skipped..] {
        session.app.out.line(line)?;
    }
    Ok(Outcome::Done)
}

pub fn quit(session: &mut Session<'_>, _: &Call) -> Result<Outcome, Failure> {
    session.finished = true;
    Ok(Outcome::Done)
}

fn on_or_off(call: &Call) -> Result<Option<bool>, Failure> {
    match call.text(0)? {
        None => Ok(None),
        Some("on") => Ok(Some(true)),
        Some("off") => Ok(Some(false)),
        Some(other) => Err(Failure::Usage(format!("{other:?} is neither on nor off"))),
    }
}

fn tell(session: &mut Session<'_>, text: &str) -> Result<Outcome, Failure> {
    session.app.out.line(text)?;
    Ok(Outcome::Done)
}
