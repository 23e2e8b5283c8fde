//! Build, verify, pack and address a release.

pub mod manifest;
