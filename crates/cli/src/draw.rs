//! Draws problems and failures for a person; the only place that knows `miette`.

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity as Level, SourceCode,
};
use stack::{Problem, Problems, Severity};

use crate::{
    exit::Failure,
    printer::{BAD, Printer, paint},
};

/// One problem with the file it is about.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Drawn<'p> {
    message: String,
    problem: &'p Problem,
    text: Option<NamedSource<String>>,
}

impl Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<Level> {
        Some(match self.problem.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        })
    }

    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.problem.mend.as_ref().map(|mend| Box::new(mend) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.problem.span.clone()?;
        self.text.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// All problems, each with its place in the file, and their number.
pub(crate) fn problems(problems: &Problems, printer: Printer) {
    let fancy = printer.interactive && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let theme = if fancy { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(110).with_context_lines(0);
    for problem in problems {
        let text = problems.text().map(|text| NamedSource::new(problems.file().unwrap_or("input"), text.to_owned()));
        let drawn = Drawn { message: problem.message.clone(), problem, text };
        let mut picture = String::new();
        match handler.render_report(&mut picture, &drawn) {
            Ok(()) => printer.say(picture.trim_end()),
            Err(std::fmt::Error) => printer.say(problem),
        }
    }
    let warnings = problems.len() - problems.errors();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    match (problems.errors(), warnings) {
        (0, 0) => {}
        (errors, 0) => printer.say(count(errors, "problem")),
        (0, warnings) => printer.say(count(warnings, "warning")),
        (errors, warnings) => printer.say(format!("{}, {}", count(errors, "problem"), count(warnings, "warning"))),
    }
}

/// Why a command failed.
pub(crate) fn failure(failure: &Failure, printer: Printer) {
    match failure {
        Failure::Problems(list, _) => {
            if printer.json {
                // The caller asked for data: problems are the data.
                let _ = printer.document(list);
            } else {
                problems(list, printer);
            }
        }
        Failure::Message { message, hint, exit } => {
            if printer.json {
                let _ = printer.document(&serde_json::json!({ "error": message, "hint": hint, "exit": *exit as u8 }));
            }
            printer.say(format_args!("{} {message}", paint(BAD, "error:")));
            if let Some(hint) = hint {
                printer.hint(hint);
            }
        }
    }
}
