//! Replays what the fuzzer has found: every input of the corpus, and simple changes of each, through every target (see
//! `fuzz/targets.rs`). None may panic, and none may take much more memory than the bytes that it is about.
//!
//! The fuzzer itself is a command in `docs/CONTRIBUTING.md`.

#![allow(clippy::unwrap_used, clippy::type_complexity, unreachable_pub)]

#[path = "../src/bin/forelog/escape.rs"]
#[allow(dead_code)]
mod escape;
/// As the binary has it.
#[path = "../src/bin/forelog/shell"]
mod shell {
    #[allow(dead_code)]
    pub(crate) mod line;
}
#[path = "fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a target may take beside its input, in bytes. The stores that are changed have less than 200 KiB.
const MOST_MEMORY: usize = 16 << 20;

/// One test alone in its process: so what is allocated is the target's.
#[test]
fn the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let (mut replayed, mut most) = (0, 0);
    for (name, target) in targets::TARGETS {
        let mut inputs: Vec<_> =
            fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name}");
        target(b"");
        for path in inputs {
            let input = fs::read(&path).unwrap();
            let mut random = fastrand::Rng::with_seed(input.len() as u64);
            for change in 0..8 {
                let mut bytes = input.clone();
                if change > 0 && !bytes.is_empty() {
                    let at = random.usize(..bytes.len());
                    match change % 3 {
                        0 => bytes.truncate(at),
                        1 => bytes[at] = random.u8(..),
                        _ => bytes.insert(at, random.u8(..)),
                    }
                }
                let before = MEMORY.current_usage();
                MEMORY.reset_peak_usage();
                target(&bytes);
                let took = MEMORY.peak_usage().saturating_sub(before);
                assert!(took <= bytes.len() + MOST_MEMORY, "{name}: {took} bytes for {}", path.display());
                most = most.max(took);
                replayed += 1;
            }
        }
    }
    println!("{replayed} inputs replayed, at most {} KiB of memory for one", most >> 10);
    assert!(replayed > 500);
}
