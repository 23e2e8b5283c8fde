//! How long a fresh clone takes to build.

use std::{process::Command, time::Instant};

use crate::{
    Arguments,
    fault::{Doing, Fault},
    row::Row,
};

/// A release build of the workspace into an empty folder, with the dependencies' sources already fetched.
pub(crate) fn measure(_: &Arguments) -> Result<Vec<Row>, Fault> {
    let folder = tempfile::tempdir().doing("no temporary folder")?;
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let cargo = |arguments: &[&str]| -> Result<(), Fault> {
        let status = Command::new("cargo")
            .args(arguments)
            .current_dir(workspace)
            .env("CARGO_TARGET_DIR", folder.path())
            .status()
            .doing("cargo does not start")?;
        if status.success() { Ok(()) } else { Err(Fault::new(format!("cargo {} failed", arguments.join(" ")))) }
    };
    cargo(&["fetch", "--locked"])?;
    let begun = Instant::now();
    cargo(&["build", "--release", "--workspace", "--locked"])?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    Ok(vec![Row::limit("cold release build of the workspace", minutes, "minutes", 12.0)])
}
