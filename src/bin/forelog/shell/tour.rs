//! The tour: a walk through the lab. Each step really runs, and says what was seen.
//!
//! A test holds `docs/guide/tour.md` against it, so neither can go stale.

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::editor::read_failure;
use super::session::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{COMMAND, FAINT, Format, paint, signs};

/// A step: what is to be seen, the lines that show it, and what was seen.
struct Step {
    title: &'static str,
    before: &'static str,
    lines: &'static [&'static str],
    after: &'static str,
}

/// What is said where the tour would not find what it tells of.
pub const NEEDS_A_NEW_LAB: &str =
    "the tour begins in a lab where nothing has happened yet: `forelog lab --tour`";

/// Runs the tour from its beginning. At a terminal it waits after each step.
pub fn run(session: &mut Session<'_>) -> Result<Outcome, Failure> {
    if session.open.as_ref().is_none_or(|db| db.visible_lsn().get() > 0) {
        return Err(Failure::Usage(NEEDS_A_NEW_LAB.to_owned()));
    }
    let format = session.app.out.format();
    session.app.out.set_format(Format::Table);
    let result = steps(session);
    session.app.out.set_format(format);
    result.map(|()| Outcome::Done)
}

fn steps(session: &mut Session<'_>) -> Result<(), Failure> {
    let color = session.app.globals.color.applies(session.interactive);
    for (index, step) in STEPS.iter().enumerate() {
        let title = format!("{}/{}  {}", index + 1, STEPS.len(), step.title);
        if index > 0 {
            tell(session, "")?;
        }
        tell(session, &format!("{}\n{}\n", paint(color, COMMAND, &title), wrapped(step.before)))?;
        for line in step.lines {
            let (prompt, _) = session.prompt(color);
            tell(session, &format!("{prompt}{}", shown(line)))?;
            match session.run_line(line.as_bytes()) {
                // What a command says of damage is part of what is to be seen.
                Ok(_) | Err(Failure::Told(_)) => {}
                Err(cause) if cause.code() == 3 => tell(session, &format!("forelog: {cause}"))?,
                Err(cause) => return Err(cause),
            }
        }
        tell(session, &format!("\n{}", wrapped(step.after)))?;
        if index + 1 < STEPS.len() && !goes_on(session, color)? {
            break;
        }
    }
    Ok(())
}

/// Waits for whoever sits there: Enter goes on, `q` leaves the tour.
fn goes_on(session: &mut Session<'_>, color: bool) -> Result<bool, Failure> {
    if !session.interactive && !super::is_at_a_terminal() {
        return Ok(true);
    }
    // With the editor, so that Ctrl-C and Ctrl-D leave the tour, too, and not the lab.
    let mut editor = DefaultEditor::new().map_err(read_failure)?;
    let prompt = paint(color, FAINT, "Enter goes on, q leaves the tour and stays in the lab> ");
    loop {
        match editor.readline(&prompt) {
            Ok(line) if line.trim().is_empty() => return Ok(true),
            Ok(line) if line.trim().eq_ignore_ascii_case("q") => return Ok(false),
            Ok(_) => {}
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(false),
            Err(error) => return Err(read_failure(error)),
        }
    }
}

fn tell(session: &mut Session<'_>, text: &str) -> Result<(), Failure> {
    session.app.out.line(text)?;
    session.app.out.flush()
}

/// Text in lines that fit into a terminal.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 78;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// A line as it is shown: a long value is cut.
fn shown(line: &str) -> String {
    const LONGEST: usize = 60;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}{} ({} bytes)", &line[..end], signs("…"), line.len()),
        None => line.to_owned(),
    }
}

/// A hundred bytes to fill a segment with.
macro_rules! hundred {
    () => {
        "...................................................................................................."
    };
}

/// A put that takes a third of a segment.
macro_rules! fill {
    ($key:literal) => {
        concat!(
            "put ",
            $key,
            " ",
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
            hundred!(),
        )
    };
}

const STEPS: &[Step] = &[
    Step {
        title: "A write that survives",
        before: "A put writes a record to the log, has the disk sync it, and answers with the record's number: its LSN.",
        lines: &["put user:1 alice", "get user:1"],
        after: "What has been answered survives a power cut. All that follows is about keeping that promise, and proving it.",
    },
    Step {
        title: "Its bytes",
        before: "The log is a file like any other. Here is the record, and every byte of it.",
        lines: &["log", "inspect 00000000000000000001.wal@4096"],
        after: "The header's checksum is seeded with a number of this file and with the place in it: nothing else passes for a \
                record. `durable_lsn` is what was known to be durable when it was written. That is how a later record proves \
                an earlier one.",
    },
    Step {
        title: "The life of a put",
        before: "A trace is told by the engine while it works.",
        lines: &[".trace on", "put user:2 bob", ".trace off"],
        after: "Log first, memory second, and seen by readers last: a write that asks for a sync is seen after it, so no \
                power cut takes away what a reader has seen of it. (LSN 2 is a mark. It was \
                written before you looked, so that the files prove the first record; nothing proves the mark itself yet, so \
                `log` left it out.)",
    },
    Step {
        title: "Not waiting for the disk",
        before: "A sync takes its time. A writer that can do without it is answered at once.",
        lines: &[".durability buffered", "put user:3 carol", "put user:4 dave"],
        after: "Both can be read now. But look at the prompt: it counts what a power cut would take.",
    },
    Step {
        title: "A power cut",
        before: "The engine is thrown away in mid-air. The disk keeps what it was told to sync, and nothing else.",
        lines: &["crash", "recover", "scan"],
        after: "What was acknowledged as durable is there. What was not is gone, as a whole: never half a record.",
    },
    Step {
        title: "Only the process dies",
        before: "The same again, but the power stays on: kill -9, a panic, the out-of-memory killer.",
        lines: &["put user:3 carol", "crash --process", "recover"],
        after: "What was written is with the operating system, and that goes on. So \"buffered\" survives a process, and not a \
                power cut.",
    },
    Step {
        title: "A torn end",
        before: "A real disk loses now this sector, now that, and in no order.",
        lines: &[
            "put a 1",
            "put b 2",
            "put c 3",
            "put d 4",
            "put e 5",
            "put f 6",
            "put g 7",
            "put h 8",
            "put i 9",
            "put j 10",
            "put k 11",
            "put l 12",
            "crash --tail garbage --seed 3",
            "recover",
        ],
        after: "The log ends before the first record that is not whole. What stands behind that is kept for whoever \
                wants to look, and never counts: the state is always the one after some LSN, as if the rest had not been \
                written. The log goes on in another file: nothing had proved LSN 5 to 8, so they were written again \
                there, and synced.",
    },
    Step {
        title: "Versions",
        before: "Back to waiting. A key that is written again has two records, and one of them is seen.",
        lines: &[".durability sync", "put user:1 anna", "why user:1"],
        after: "The log forgets nothing by itself. That makes it long: opening would have to read all of it.",
    },
    Step {
        title: "A checkpoint",
        before: "A checkpoint writes the state at one LSN to a file. Then the log before it can go; here it goes to an archive.",
        lines: &[
            fill!("fill:1"),
            fill!("fill:2"),
            fill!("fill:3"),
            fill!("fill:4"),
            fill!("fill:5"),
            "checkpoint",
            "map",
        ],
        after: "Opening loads the checkpoint (15-2-0: LSN 15, manifest 2, part 0) and replays what comes behind it: nothing \
                yet. What was before can still be read, in the archive.",
    },
    Step {
        title: "Where a value comes from",
        before: "The value of user:1 stands in the checkpoint now, and its history in the archive.",
        lines: &["why user:1"],
        after: "Each line can be looked at: `inspect FILE@OFFSET`.",
    },
    Step {
        title: "A bit rots",
        before: "Damage is another matter than a torn end: what was durable once is not to be lost without a word.",
        lines: &[
            "put user:5 eve",
            "put user:6 frank",
            "damage 00000000000000000015.wal@5520",
            "verify",
            "crash",
            "recover",
        ],
        after: "It is found, with its place and with the proof that it was durable. (LSN 19 is a mark again: it was \
                written before `verify` looked.) So the store is not opened over it: to cut the log there would be \
                silent loss. `forelog repair` saves what is sound.",
    },
    Step {
        title: "Back to a moment before",
        before: "The archive has the log up to the checkpoint, and so every state until then.",
        lines: &["restore archive rescued --to-lsn 8", ".open rescued", "get user:1", "scan --prefix user:"],
        after: "That is the tour. The lab is yours now: .help names the commands. `forelog shell DIR` is the same on a real disk.",
    },
];
