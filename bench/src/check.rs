//! `slipway check` of a large stack.

use std::{fs, process::Stdio, time::Instant};

use crate::{
    Arguments,
    fault::{Doing, Fault},
    row::{Row, median},
    stand::Stand,
};

/// Services of the generated stack.
const SERVICES: usize = 200;

/// The whole command, from its start to its end, and the part of it that reads and checks.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let stand = Stand::empty()?;
    let text = stack::sample::many_services(SERVICES);
    fs::write(stand.project().join("slipway.toml"), &text).doing("cannot write the stack file")?;
    let rounds = arguments.rounds.max(10);
    let mut whole = Vec::new();
    let mut inside = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        let output = stand.command(&["check"])?.stdin(Stdio::null()).output().doing("slipway does not start")?;
        whole.push(begun.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            return Err(Fault::new(format!("slipway check: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        let begun = Instant::now();
        let problems = stack::check("slipway.toml", &text);
        inside.push(begun.elapsed().as_secs_f64() * 1e3);
        if !problems.is_empty() {
            return Err(Fault::new(format!("the generated stack has problems: {problems}")));
        }
    }
    let name = format!("check of {SERVICES} services");
    Ok(vec![
        Row::limit(&name, median(whole), "ms", 50.0),
        Row::limit(&format!("{name}, without starting the program"), median(inside), "ms", 50.0),
    ])
}
