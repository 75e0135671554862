//! See `targets.rs`.
#![no_main]

#[path = "../../../src/bin/forelog/escape.rs"]
#[allow(dead_code)]
mod escape;
#[path = "../../../src/bin/forelog/shell"]
mod shell {
    #[allow(dead_code)]
    pub(crate) mod line;
}
#[path = "../targets.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::manifest(data));
