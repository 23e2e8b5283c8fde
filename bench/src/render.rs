//! `slipway render` of a large stack.

use std::time::Instant;

use render::{Input, Options, Target};
use stack::EnvironmentName;

use crate::{
    Arguments,
    fault::{Doing, Fault},
    row::{Row, median},
};

/// Services of the generated stack.
const SERVICES: usize = 200;

/// Every target of the largest stack, without starting the program.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let text = stack::sample::many_services(SERVICES);
    let rounds = arguments.rounds.max(10);
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for name in stack::environments(&text) {
        all.push(stack::resolve("slipway.toml", &text, &name).map_err(|problems| Fault::new(problems.to_string()))?);
    }
    for target in Target::ALL {
        let environment = if target == Target::Kubernetes { "staging" } else { "production" };
        let name = EnvironmentName::new(environment).doing("a well-formed name")?;
        let resolved = all.iter().find(|resolved| resolved.name == name).cloned();
        let resolved = resolved.ok_or_else(|| Fault::new(format!("the generated stack has no environment {name}")))?;
        let options = Options { leave_out: true, ..Options::default() };
        let input = Input { resolved, all: all.clone(), options };
        let mut times = Vec::new();
        for _ in 0..rounds {
            let begun = Instant::now();
            render::render(target, &input).map_err(|problems| Fault::new(problems.to_string()))?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        rows.push(Row::limit(&format!("render {target} of {SERVICES} services"), median(times), "ms", 100.0));
    }
    Ok(rows)
}
