//! Problems: everything that is wrong with an input, each with where, what and how to mend it.

use std::{fmt, ops::Range, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeSeq};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing may go on.
    Error,
    /// Somebody should look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One thing wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Stable name of this sort of problem, in kebab-case, as in `unknown-key`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One lowercase sentence that names the thing.
    pub message: String,
    /// How to mend it.
    pub mend: Option<String>,
    /// Bytes of the file it is about.
    pub span: Option<Range<usize>>,
    /// Dotted path of the key it is about, as in `service.api.size.replicas`; empty when it is about the whole input.
    pub key: String,
}

impl Problem {
    /// An error about `key` (a dotted path, or empty).
    pub fn error(code: &'static str, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), mend: None, span: None, key: key.into() }
    }

    /// A warning about `key` (a dotted path, or empty).
    pub fn warning(code: &'static str, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, key, message) }
    }

    /// Says how to mend it.
    #[must_use]
    pub fn with_mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// Says where it is: a byte range of the file.
    #[must_use]
    pub fn with_span(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }
}

/// `error[code]: message`, and the mend on a line of its own, indented by two spaces.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        self.mend.iter().try_for_each(|mend| write!(f, "\n  {mend}"))
    }
}

/// A place in a text as people count: lines and characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
}

/// Most problems a file has: past this nobody reads on, and a hostile file must not cost more.
pub(crate) const MOST_PROBLEMS: usize = 1000;

/// Everything wrong with one input, with the input's name and text when it has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    file: Option<Arc<str>>,
    text: Option<Arc<str>>,
    list: Vec<Problem>,
}

impl Problems {
    /// No problems, of an input that is not a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// No problems, of the file `name` that holds `text`.
    pub fn of_file(name: &str, text: &str) -> Self {
        Self { file: Some(name.into()), text: Some(text.into()), list: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// Whether there is none, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, warnings included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Whether at least one is an error.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// The file's name, as given.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The file's text.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Where a problem begins and where it ends (one past its last character), when it has a span and the text is known.
    pub fn position(&self, problem: &Problem) -> Option<(Position, Position)> {
        let (text, span) = (self.text.as_deref()?, problem.span.as_ref()?);
        Some((position(text, span.start), position(text, span.end)))
    }

    /// Puts them in the order of the file, those without a place first, and drops repetitions.
    pub(crate) fn settle(&mut self) {
        let place = |p: &Problem| p.span.as_ref().map(|span| (span.start, span.end));
        self.list.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.severity.cmp(&b.severity)));
        let mut seen = std::collections::HashSet::new();
        self.list.retain(|p| seen.insert((p.code, p.span.clone(), p.message.clone())));
        self.list.truncate(MOST_PROBLEMS);
    }
}

/// The position of byte `offset`; an offset past the end counts as the end.
fn position(text: &str, offset: usize) -> Position {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        self.list.extend(problems);
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { list: vec![problem], ..Self::default() }
    }
}

/// One problem after another, each as `file:line:column: error[code]: message` and its mend on the next line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = &self.file {
                write!(f, "{file}:")?;
                if let Some((start, _)) = self.position(problem) {
                    write!(f, "{}:{}:", start.line, start.column)?;
                }
                f.write_str(" ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[derive(Serialize)]
struct Row<'a> {
    severity: Severity,
    code: &'static str,
    key: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_column: Option<usize>,
}

/// A list of objects: `severity`, `code`, `key`, `message`, and where known `mend`, `file`, `line`, `column`,
/// `end_line`, `end_column` (from 1; the end is one past the last character).
impl Serialize for Problems {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(Some(self.list.len()))?;
        for problem in &self.list {
            let place = self.position(problem);
            rows.serialize_element(&Row {
                severity: problem.severity,
                code: problem.code,
                key: &problem.key,
                message: &problem.message,
                mend: problem.mend.as_deref(),
                file: self.file.as_deref(),
                line: place.map(|(start, _)| start.line),
                column: place.map(|(start, _)| start.column),
                end_line: place.map(|(_, end)| end.line),
                end_column: place.map(|(_, end)| end.column),
            })?;
        }
        rows.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "a = 1\nä = \"ö\" # x\n";
        assert_eq!(position(text, 0), Position { line: 1, column: 1 });
        assert_eq!(position(text, text.find('#').expect("there")), Position { line: 2, column: 9 });
        assert_eq!(position(text, 9999), Position { line: 3, column: 1 });
    }

    #[test]
    fn display_and_json_name_the_place_and_the_mend() {
        let mut problems = Problems::of_file("slipway.toml", "app = \"x\"\nreplcas = 3\n");
        problems.push(
            Problem::error("unknown-key", "replcas", "unknown key `replcas`")
                .with_span(10..17)
                .with_mend("did you mean `replicas`?"),
        );
        assert_eq!(
            problems.to_string(),
            "slipway.toml:2:1: error[unknown-key]: unknown key `replcas`\n  did you mean `replicas`?"
        );
        let json = serde_json::to_value(&problems).expect("plain data");
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["end_column"], 8);
    }
}
