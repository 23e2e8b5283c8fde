//! Data to stdout, talk to stderr.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::exit::Failure;

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// Data are printed as JSON.
    pub(crate) json: bool,
    /// A person watches: progress may be redrawn, questions may be asked.
    pub(crate) interactive: bool,
}

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// News in between.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Less important.
pub(crate) const DIM: Style = Style::new().dimmed();
/// More important.
pub(crate) const STRONG: Style = Style::new().bold();

/// `text` in `style`; the streams drop the style where it is not wanted (`NO_COLOR`, pipes).
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

impl Printer {
    /// Looks at the streams once.
    pub(crate) fn new(json: bool) -> Self {
        let interactive = std::io::stderr().is_terminal() && std::io::stdin().is_terminal() && !in_ci();
        Self { json, interactive }
    }

    /// One line of data.
    #[expect(clippy::unused_self, reason = "who prints has been handed a printer")]
    pub(crate) fn data(self, line: impl std::fmt::Display) {
        // A reader that closed the pipe has read enough.
        let _ = writeln!(anstream::stdout(), "{line}");
    }

    /// A document of data.
    pub(crate) fn document(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(format!("cannot write the answer as JSON: {error}")))?;
        self.data(text);
        Ok(())
    }

    /// One line of talk.
    #[expect(clippy::unused_self, reason = "who prints has been handed a printer")]
    pub(crate) fn say(self, line: impl std::fmt::Display) {
        let _ = writeln!(anstream::stderr(), "{line}");
    }

    /// What to do next; always last.
    pub(crate) fn hint(self, line: impl std::fmt::Display) {
        self.say(format_args!("{} {line}", paint(DIM, "hint:")));
    }

    /// Asks before something that cannot be taken back. `yes` answers it beforehand.
    pub(crate) fn confirm(self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::usage(format!("{question} Nobody is here to answer")).hint("add --yes"));
        }
        let _ = write!(anstream::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::new(format!("cannot read the answer: {error}")))?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(Failure::new("stopped, nothing was changed"))
        }
    }
}

/// Whether a CI system runs this: then output is plain and nothing is asked.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// A length of time as a person says it: `0.4 s`, `12 s`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`.
pub(crate) fn ago(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs();
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{} m {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// Bytes as a person says them: `812 B`, `4.2 MB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}
