//! `slipway host list`: the environment's hosts.

use agent::protocol::{Call, Reply};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::way::{Machine, greet, meant, reach};
use crate::{
    context::Place,
    exit::{Done, Exit, Failure},
    printer::{BAD, GOOD, Printer, bytes, paint},
};

/// List hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only these; by default those of the environment
    #[arg(value_name = "USER@HOST")]
    hosts: Vec<String>,
}

/// Asks all hosts at the same time; one that does not answer is listed with the reason. Exit code 1 then.
pub(crate) async fn run(command: &List, place: &Place, printer: Printer) -> Done {
    let mut rows = Vec::new();
    for (destination, machine) in reach(&meant(&command.hosts, place)?, None).await {
        rows.push(match machine {
            Ok(machine) => row(&machine).await,
            Err(error) => json!({ "host": destination, "agent": "unreachable", "error": error.to_string() }),
        });
    }
    let well = rows.iter().all(|row| row["agent"] == "answers");
    if printer.json {
        printer.document(&rows)?;
    } else {
        table(&rows, printer);
    }
    Ok(if well { Exit::Done } else { Exit::Failed })
}

async fn row(machine: &Machine) -> Value {
    let facts = &machine.facts;
    let mut row = json!({
        "host": machine.destination,
        "name": Value::Null,
        "address": facts.address,
        "version": Value::Null,
        "agent": "answers",
        "environments": [],
        "load": facts.load,
        "cores": facts.cores,
        "disk_free": facts.home_free,
        "disk_size": facts.home_size,
    });
    if let Err(failure) = ask(machine, &mut row).await {
        let text = match failure {
            Failure::Message { message, .. } => message,
            Failure::Problems(..) => String::new(),
        };
        row["agent"] = if facts.program.is_none() { "none" } else { "silent" }.into();
        row["error"] = text.into();
    }
    row
}

async fn ask(machine: &Machine, row: &mut Value) -> Result<(), Failure> {
    let greeting = greet(&machine.ssh).await?;
    row["version"] = greeting.version.into();
    if let Some(host) = greeting.host {
        row["name"] = host.name.into();
        row["address"] = host.address.to_string().into();
    }
    if let Reply::Scopes { scopes } = greeting.client.call(None, Call::Scopes).await? {
        row["environments"] = scopes.iter().map(|scope| Value::from(scope.to_string())).collect();
    }
    Ok(())
}

fn table(rows: &[Value], printer: Printer) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["host", "address", "version", "agent", "environments", "load", "disk free"]);
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let style = if row["agent"] == "answers" { GOOD } else { BAD };
        let environments: Vec<&str> =
            row["environments"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let load = row["load"].as_f64().map_or("-".to_owned(), |load| format!("{load:.2} of {}", row["cores"]));
        let disk = row["disk_free"].as_u64().map_or("-".to_owned(), bytes);
        table.add_row([
            text("host"),
            text("address"),
            text("version"),
            paint(style, text("agent")),
            environments.join(", "),
            load,
            disk,
        ]);
    }
    printer.data(table);
    for row in rows {
        if let Some(error) = row["error"].as_str() {
            printer.say(format_args!("{} {}: {error}", paint(BAD, "!"), row["host"].as_str().unwrap_or_default()));
        }
    }
}
