//! `slipway host check`: what makes deploys fail later.

use comfy_table::{Table, presets};
use fleet::hosting::check::{Finding, Verdict, check};
use serde_json::json;

use super::way::{greet, meant, reach};
use crate::{
    context::Place,
    exit::{Done, Exit, Failure},
    printer::{BAD, GOOD, Printer, STRONG, WARN, paint},
};

/// Check hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Machines, hosts or not; by default those of the environment
    #[arg(value_name = "USER@HOST")]
    hosts: Vec<String>,
}

/// Looks at all hosts at the same time; exit code 1 when something of one of them is bad.
pub(crate) async fn run(command: &Check, place: &Place, printer: Printer) -> Done {
    let mut rows = Vec::new();
    for (destination, machine) in reach(&meant(&command.hosts, place)?, None).await {
        let findings = match machine {
            Err(error) => vec![Finding { what: "ssh", verdict: Verdict::Bad, said: error.to_string() }],
            Ok(machine) => {
                let mut findings = check(&machine.facts);
                if machine.facts.program.is_some()
                    && let Err(Failure::Message { message, .. }) = greet(&machine.ssh).await
                {
                    findings.push(Finding { what: "agent", verdict: Verdict::Bad, said: message });
                }
                findings
            }
        };
        rows.push((destination, findings));
    }
    let bad = rows.iter().flat_map(|row| &row.1).any(|finding| finding.verdict == Verdict::Bad);
    if printer.json {
        let list: Vec<_> = rows.iter().map(|(host, findings)| json!({ "host": host, "findings": findings })).collect();
        printer.document(&list)?;
    } else {
        for (host, findings) in &rows {
            printer.data(paint(STRONG, host));
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            for finding in findings {
                let (style, word) = match finding.verdict {
                    Verdict::Good => (GOOD, "ok"),
                    Verdict::Warn => (WARN, "?"),
                    Verdict::Bad => (BAD, "!"),
                };
                table.add_row([paint(style, word), finding.what.to_owned(), finding.said.clone()]);
            }
            printer.data(table);
        }
    }
    Ok(if bad { Exit::Failed } else { Exit::Done })
}
