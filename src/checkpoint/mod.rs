//! What is on disk beside the log: the manifest.
//!
//! Where to read next: [`format::manifest`](crate::format::manifest) for its bytes, `recovery` for who reads it.

pub(crate) mod manifest;
