//! The one table of the shell's commands. To add a command, add a row.

use super::verb::{Arg, Kind, Opt, Verb};
use super::{settings, verbs};

/// Every command of the shell, in the order of `.help`.
pub static VERBS: &[Verb] = &[
    Verb {
        name: "put",
        args: &[KEY, required("VALUE", Kind::Content)],
        options: &[KEYSPACE],
        about: "set a key",
        reads: false,
        run: verbs::put,
    },
    Verb {
        name: "get",
        args: &[KEY],
        options: &[KEYSPACE],
        about: "the value of a key",
        reads: true,
        run: verbs::get,
    },
    Verb {
        name: "del",
        args: &[KEY],
        options: &[KEYSPACE],
        about: "remove a key",
        reads: false,
        run: verbs::del,
    },
    Verb {
        name: "scan",
        args: &[],
        options: &[
            PREFIX,
            valued("from", "A", Kind::Key, "only keys from this one on"),
            valued("to", "B", Kind::Key, "only keys before this one"),
            valued("limit", "N", Kind::Number, "no more than this many"),
            flag("reverse", "from the last key to the first"),
            flag("keys-only", "leave the values out"),
            KEYSPACE,
        ],
        about: "keys and values in the order of the keys",
        reads: true,
        run: verbs::scan,
    },
    Verb {
        name: "count",
        args: &[],
        options: &[PREFIX, KEYSPACE],
        about: "how many keys there are",
        reads: true,
        run: verbs::count,
    },
    Verb {
        name: "keyspaces",
        args: &[],
        options: &[],
        about: "the names of the keyspaces",
        reads: true,
        run: verbs::keyspaces,
    },
    Verb {
        name: "drop",
        args: &[Arg { name: "NAME", kind: Kind::Keyspace, optional: false }],
        options: &[],
        about: "remove a keyspace with all its keys",
        reads: false,
        run: verbs::drop_keyspace,
    },
    Verb {
        name: "batch",
        args: &[],
        options: &[],
        about: "collect puts and dels until commit or abort",
        reads: false,
        run: verbs::batch,
    },
    Verb {
        name: "commit",
        args: &[],
        options: &[],
        about: "write the batch: all of it or nothing",
        reads: false,
        run: verbs::commit,
    },
    Verb { name: "abort", args: &[], options: &[], about: "drop the batch", reads: false, run: verbs::abort },
    Verb {
        name: "sync",
        args: &[],
        options: &[],
        about: "make everything written survive a power cut",
        reads: false,
        run: verbs::sync,
    },
    Verb {
        name: "checkpoint",
        args: &[],
        options: &[],
        about: "write the state to disk, so that old log can go",
        reads: false,
        run: verbs::checkpoint,
    },
    Verb {
        name: "prune",
        args: &[],
        options: &[flag("dry-run", "only say what would go, and why what stays is kept")],
        about: "remove what recovery needs no more and no policy keeps",
        reads: false,
        run: verbs::prune,
    },
    Verb {
        name: "info",
        args: &[],
        options: &[],
        about: "LSNs, segments, sizes, keys",
        reads: true,
        run: verbs::info,
    },
    Verb {
        name: "log",
        args: &[],
        options: &[
            valued("from-lsn", "N", Kind::Number, "only records from this LSN on"),
            valued("to-lsn", "N", Kind::Number, "only records up to this LSN"),
            valued("key", "K", Kind::Key, "only records about this key"),
            flag("stats", "only counts and sizes"),
            flag("hex", "also the bytes of each record"),
        ],
        about: "the records of the log, with file and offset",
        reads: true,
        run: verbs::log,
    },
    Verb {
        name: "inspect",
        args: &[required("FILE", Kind::File)],
        options: &[],
        about: "what each byte of a file means; of a record: FILE@4096",
        reads: true,
        run: verbs::inspect,
    },
    Verb {
        name: "verify",
        args: &[],
        options: &[],
        about: "read everything on disk and judge it",
        reads: true,
        run: verbs::verify,
    },
    Verb {
        name: "map",
        args: &[],
        options: &[],
        about: "segments, checkpoints and the archive, drawn to scale",
        reads: true,
        run: verbs::map,
    },
    Verb {
        name: "why",
        args: &[KEY],
        options: &[KEYSPACE],
        about: "every record that there is about a key",
        reads: true,
        run: verbs::why,
    },
    Verb {
        name: "crash",
        args: &[],
        options: &[
            valued("tail", "cut|zero|garbage", TAIL, "what the log ends in where it is torn"),
            valued("seed", "S", Kind::Number, "another draw of what survives"),
            flag("process", "kill the process, and leave the power on"),
        ],
        about: "in the lab: cut the power, now",
        reads: false,
        run: verbs::crash,
    },
    Verb {
        name: "recover",
        args: &[],
        options: &[],
        about: "in the lab: open what a crash has left, and say why",
        reads: false,
        run: verbs::recover,
    },
    Verb {
        name: "restore",
        args: &[required("SRC", Kind::File), required("OUT", Kind::File)],
        options: &[valued("to-lsn", "N", Kind::Number, "the state after this LSN; otherwise the newest")],
        about: "make a store of what a store or an archive held",
        reads: false,
        run: verbs::restore,
    },
    Verb {
        name: "tour",
        args: &[],
        options: &[],
        about: "in the lab: a walk through it, in a dozen steps",
        reads: false,
        run: verbs::tour,
    },
    Verb {
        name: "damage",
        args: &[required("FILE@OFFSET", Kind::File)],
        options: &[],
        about: "in the lab: flip a bit of a file, and sync it",
        reads: false,
        run: verbs::damage,
    },
    Verb {
        name: ".help",
        args: &[optional("COMMAND", Kind::Command)],
        options: &[],
        about: "this list, or one command",
        reads: false,
        run: settings::help,
    },
    Verb {
        name: ".format",
        args: &[optional("FORMAT", Kind::Choice(&["auto", "table", "plain", "json", "csv", "raw"]))],
        options: &[],
        about: "the form of the answers",
        reads: false,
        run: settings::format,
    },
    Verb {
        name: ".timer",
        args: &[optional("on|off", ON_OFF)],
        options: &[],
        about: "how long each command takes",
        reads: false,
        run: settings::timer,
    },
    Verb {
        name: ".trace",
        args: &[optional("on|off", ON_OFF)],
        options: &[],
        about: "what happens inside at each command",
        reads: false,
        run: settings::trace,
    },
    Verb {
        name: ".durability",
        args: &[optional("POLICY", Kind::Choice(&["sync", "interval:250ms", "buffered"]))],
        options: &[],
        about: "what a write waits for: sync, interval:250ms, buffered",
        reads: false,
        run: settings::durability,
    },
    Verb {
        name: ".read",
        args: &[required("FILE", Kind::File)],
        options: &[],
        about: "run the lines of a file",
        reads: false,
        run: settings::read,
    },
    Verb {
        name: ".open",
        args: &[required("DIR", Kind::File)],
        options: &[],
        about: "close this store, and open another one",
        reads: false,
        run: settings::open,
    },
    Verb {
        name: ".once",
        args: &[required("FILE", Kind::File)],
        options: &[flag("force", "overwrite the file")],
        about: "the next answer goes to a file",
        reads: false,
        run: settings::once,
    },
    Verb {
        name: ".last",
        args: &[],
        options: &[],
        about: "the last reading command again, its answer uncut",
        reads: false,
        run: settings::last,
    },
    Verb {
        name: ".history",
        args: &[optional("N", Kind::Number)],
        options: &[],
        about: "the last lines that were entered",
        reads: false,
        run: settings::history,
    },
    Verb { name: ".quit", args: &[], options: &[], about: "leave", reads: false, run: settings::quit },
];

const ON_OFF: Kind = Kind::Choice(&["on", "off"]);
const TAIL: Kind = Kind::Choice(&["cut", "zero", "garbage"]);
const KEY: Arg = required("KEY", Kind::Key);
const KEYSPACE: Opt = valued("keyspace", "NAME", Kind::Keyspace, "not in the default keyspace");
const PREFIX: Opt = valued("prefix", "P", Kind::Key, "only keys that begin so");

const fn required(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, optional: false }
}

const fn optional(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, optional: true }
}

const fn valued(name: &'static str, value: &'static str, kind: Kind, about: &'static str) -> Opt {
    Opt { name, value: Some(required(value, kind)), about }
}

const fn flag(name: &'static str, about: &'static str) -> Opt {
    Opt { name, value: None, about }
}
