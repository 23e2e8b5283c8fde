//! `docs/src/reference/commands.md` is what the program itself says.

use std::{fmt::Write as _, path::Path, process::Command};

const COMMANDS: &[&str] = &[
    "init",
    "check",
    "schema",
    "up",
    "deploy",
    "render",
    "rollback",
    "status",
    "logs",
    "health",
    "heal",
    "promote",
    "host",
    "releases",
    "build",
    "migrate",
    "run",
    "exec",
    "runs",
    "trigger",
    "start",
    "stop",
    "import",
    "completions",
    "man",
    "help",
];

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_slipway"))
        .args(arguments)
        .arg("--help")
        .env_remove("SLIPWAY_HOME")
        .env_remove("SLIPWAY_ENV")
        .env_remove("SLIPWAY_FILE")
        .env("COLUMNS", "100")
        .output()
        .expect("slipway runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commands_page_is_fresh() {
    let mut page = String::from(
        "# Commands\n\nWhat `slipway --help` and `slipway COMMAND --help` print. Exit codes are on [a page of their own](exit-codes.md).\n",
    );
    let _ = write!(page, "\n```text\n{}\n```\n", help(&[]));
    for command in COMMANDS.iter().filter(|command| **command != "help") {
        let _ = write!(page, "\n## slipway {command}\n\n```text\n{}\n```\n", help(&[command]));
    }
    for action in ["status", "up", "down", "mend", "new"] {
        let _ = write!(page, "\n### slipway migrate {action}\n\n```text\n{}\n```\n", help(&["migrate", action]));
    }
    for action in ["add", "list", "check", "harden", "drain", "undrain", "upgrade", "remove"] {
        let _ = write!(page, "\n### slipway host {action}\n\n```text\n{}\n```\n", help(&["host", action]));
    }
    let _ = write!(page, "\n### slipway releases prune\n\n```text\n{}\n```\n", help(&["releases", "prune"]));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference/commands.md");
    if std::env::var_os("SLIPWAY_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "the page is not what the program says; run: SLIPWAY_WRITE_REFERENCE=1 cargo test -p slipway fresh"
    );
}

#[test]
fn every_command_is_on_the_page() {
    let overview = help(&[]);
    let listed: Vec<&str> = overview
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   ")))
        .collect();
    for command in &listed {
        assert!(COMMANDS.contains(command), "`{command}` is missing in COMMANDS");
    }
    assert_eq!(listed.len(), COMMANDS.len(), "{listed:?}");
}
