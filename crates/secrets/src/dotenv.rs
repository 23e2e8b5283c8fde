//! Files of variables: `.env` and its kin.
//!
//! One line is `NAME=value`, and may begin with `export`. A value is
//!
//! - plain: up to the end of the line or to ` #`, without the blanks around it;
//! - in single quotes: taken as it stands, also over several lines;
//! - in double quotes: also over several lines, with `\n`, `\r`, `\t`, `\\`, `\"`, `\$`, and `\` at the end of a line
//!   joining it to the next.
//!
//! Plain and double-quoted values take `$NAME`, `${NAME}`, `${NAME:-default}` (used when unset or empty) and
//! `${NAME-default}` (used when unset); `\$` is a dollar sign. A name is looked for in the process environment, then
//! in earlier lines, then in earlier files: the same order in which values win. A name that is found nowhere is an
//! error, because it is mostly a password with a dollar sign in it.
//!
//! No message ever shows a part of a value.

use std::collections::BTreeMap;

use stack::{Problem, Severity};
use zeroize::Zeroizing;

/// How deep `${A:-${B:-...}}` may go.
const DEEPEST: usize = 16;

/// One variable of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its value, ready for use.
    pub value: String,
    /// Where it begins, from 1.
    pub line: usize,
}

/// Shows the name and the line, never the value.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.name)
    }
}

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, from 1.
    pub line: usize,
    /// The variable it is about, when that is known.
    pub name: Option<String>,
    /// Stable name of this sort of fault.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, lowercase, without the place.
    pub message: String,
    /// How to mend it.
    pub mend: String,
}

impl Fault {
    /// The fault as a problem of the file that people call `file`.
    pub fn problem(&self, file: &str) -> Problem {
        let key = self.name.clone().unwrap_or_default();
        let problem = Problem::error(self.code, key, format!("`{file}` line {}: {}", self.line, self.message));
        Problem { severity: self.severity, ..problem.with_mend(self.mend.clone()) }
    }
}

/// A file that has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// In the file's order; of several with one name the last counts.
    pub entries: Vec<Entry>,
    /// Everything wrong with it, by line.
    pub faults: Vec<Fault>,
}

impl Parsed {
    /// The value of each name.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.entries.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect()
    }
}

/// The variables that a file may refer to beside its own.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Win against the file's own lines: the process environment.
    pub over: &'a BTreeMap<String, String>,
    /// Count when the file itself has no such line: earlier files.
    pub under: &'a BTreeMap<String, String>,
}

/// Reads a file's text. Reads on after a fault, so that every one is found.
pub fn parse(text: &str, around: Around<'_>) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = Zeroizing::new(text.replace("\r\n", "\n"));
    let mut reader = Reader { rest: &text, line: 1, around, parsed: Parsed::default(), unset: Vec::new() };
    while !reader.rest.is_empty() {
        reader.statement();
    }
    reader.finish()
}

/// `NAME=value` so that [`parse`] reads exactly `value` from it, with the end of the line.
pub fn line(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@' | '+' | ',' | '=');
    if value.chars().all(plain) {
        return format!("{name}={value}\n");
    }
    if !value.contains(['\'', '\n', '\r']) {
        return format!("{name}='{value}'\n");
    }
    let mut quoted = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            _ => quoted.push(c),
        }
    }
    format!("{name}=\"{quoted}\"\n")
}

/// Where in a file the reading is.
struct Reader<'t> {
    /// What has not been read.
    rest: &'t str,
    /// The line it begins in.
    line: usize,
    around: Around<'t>,
    parsed: Parsed,
    /// References that found nothing: the line, the variable that refers, the name it refers to.
    unset: Vec<(usize, String, String)>,
}

impl<'t> Reader<'t> {
    /// Takes `count` bytes.
    fn take(&mut self, count: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(count);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn blanks(&mut self) {
        self.take(self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\u{b}', '\u{c}']).len());
    }

    /// Takes what is left of this line, and its end.
    fn line_end(&mut self) {
        self.take(self.rest.find('\n').map_or(self.rest.len(), |end| end + 1));
    }

    fn fault(&mut self, line: usize, name: Option<&str>, code: &'static str, message: String, mend: impl Into<String>) {
        let fault =
            Fault { line, name: name.map(str::to_owned), code, severity: Severity::Error, message, mend: mend.into() };
        self.parsed.faults.push(fault);
    }

    /// Reads one line, or as many as its quotes embrace.
    fn statement(&mut self) {
        self.blanks();
        if self.rest.is_empty() || self.rest.starts_with(['\n', '#']) {
            return self.line_end();
        }
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with([' ', '\t'])
        {
            self.take("export".len());
            self.blanks();
        }
        let line = self.line;
        let name_end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')));
        let name = self.take(name_end.unwrap_or(self.rest.len()));
        self.blanks();
        if name.is_empty() || !self.rest.starts_with('=') {
            // what stands there may be a piece of a secret, and is not shown
            let mend = match self.rest.chars().next() {
                Some(':') => "write `=` where the `:` is",
                _ => "write `NAME=value`; put a value of several lines in double quotes, and a `#` before a comment",
            };
            self.fault(line, None, "not-a-variable", "this is not `NAME=value`".to_owned(), mend);
            return self.line_end();
        }
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || name.contains(['.', '-']) {
            let message = format!("`{name}` is not a variable's name");
            self.fault(line, Some(name), "bad-name", message, "use letters, digits and `_`, beginning with a letter");
        }
        self.take(1);
        let blank_before = self.rest.starts_with([' ', '\t']);
        self.blanks();
        let value = self.value(line, name, blank_before);
        if value.contains('\0') {
            let message = format!("the value of `{name}` has a zero byte, which no process can be given");
            self.fault(line, Some(name), "bad-value", message, "encode the value, for example as base64");
        }
        if let Some(first) = self.parsed.entries.iter().rev().find(|entry| entry.name == name) {
            let message = format!("`{name}` is set again, the value of line {} does not count", first.line);
            self.fault(line, Some(name), "set-twice", message, "remove one of the two lines");
            if let Some(fault) = self.parsed.faults.last_mut() {
                fault.severity = Severity::Warning;
            }
        }
        self.parsed.entries.push(Entry { name: name.to_owned(), value, line });
    }

    /// Reads a value and the rest of its last line.
    fn value(&mut self, line: usize, name: &str, blank_before: bool) -> String {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let Some(quote) = quote else { return self.plain(line, name, blank_before) };
        let Some(end) = closing(&self.rest[1..], quote) else {
            let kind = if quote == '"' { "double" } else { "single" };
            let message = format!("the {kind} quote before the value of `{name}` is never closed");
            let mend = format!("add `{quote}` at the end of the value, or put a value that has it in other quotes");
            self.fault(line, Some(name), "open-quote", message, mend);
            self.line_end();
            return String::new();
        };
        let raw = &self.take(end + 2)[1..=end];
        let value =
            if quote == '\'' { raw.to_owned() } else { self.expand(raw, &Site { line, name, quoted: true }, 0) };
        self.blanks();
        if !self.rest.is_empty() && !self.rest.starts_with(['\n', '#']) {
            let message = format!("something follows the closing quote of `{name}`");
            let mend = format!(
                "close the quote at the end of the value; write a `{quote}` within it as {}",
                match quote {
                    '"' => "`\\\"`",
                    _ => "part of a value in double quotes",
                }
            );
            self.fault(self.line, Some(name), "after-quote", message, mend);
        }
        self.line_end();
        value
    }

    /// Reads a value without quotes.
    fn plain(&mut self, line: usize, name: &str, blank_before: bool) -> String {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let whole = &self.rest[..end];
        let mut stop = whole.len();
        // `#` begins a comment only after a blank: `#fff` and `a#b` are values
        let mut before = if blank_before { ' ' } else { '=' };
        for (at, c) in whole.char_indices() {
            if c == '#' && before.is_whitespace() {
                stop = at;
                break;
            }
            before = c;
        }
        let raw = whole[..stop].trim_end();
        if raw.starts_with("-----BEGIN ") {
            let message = format!("the value of `{name}` goes over several lines without quotes");
            self.fault(
                line,
                Some(name),
                "open-quote",
                message,
                "put it in double quotes, from its first line to its last",
            );
            // what follows is the key itself: one fault is enough, and none of it may be taken for a name
            let end = self.rest.find("-----END ").unwrap_or(end);
            self.take(end);
            self.line_end();
            return String::new();
        }
        let value = self.expand(raw, &Site { line, name, quoted: false }, 0);
        self.line_end();
        value
    }

    /// Replaces escapes and references in `raw`.
    fn expand(&mut self, raw: &str, site: &Site<'_>, depth: usize) -> String {
        let mut value = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(at) = rest.find(['\\', '$']) {
            value.push_str(&rest[..at]);
            let special = &rest[at..];
            let used = if special.starts_with('\\') {
                escape(special, site.quoted, &mut value)
            } else {
                self.reference(special, site, depth, &mut value)
            };
            rest = &special[used..];
        }
        value + rest
    }

    /// Replaces the reference that `text` begins with; returns how many bytes of it that was.
    fn reference(&mut self, text: &str, site: &Site<'_>, depth: usize, value: &mut String) -> usize {
        let Some(braced) = text.strip_prefix("${") else {
            let length = name_length(&text[1..]);
            if length == 0 {
                value.push('$');
                return 1;
            }
            let found = self.look_up(&text[1..=length], site);
            value.push_str(&found.unwrap_or_default());
            return 1 + length;
        };
        let Some(end) = matching_brace(braced) else {
            let message = format!("a `${{` in the value of `{}` is never closed", site.name);
            self.fault(
                site.line,
                Some(site.name),
                "bad-reference",
                message,
                "add the `}`, or write `\\$` for a dollar sign",
            );
            return text.len();
        };
        let inside = &braced[..end];
        let (name, operator) = inside.split_at(name_length(inside));
        let default = operator.strip_prefix(":-").map(|default| (default, true));
        let default = default.or_else(|| operator.strip_prefix('-').map(|default| (default, false)));
        if name.is_empty() || depth >= DEEPEST || (default.is_none() && !operator.is_empty()) {
            let message = format!("a `${{...}}` in the value of `{}` cannot be understood", site.name);
            let mend = "write `${NAME}`, `${NAME:-default}` or `${NAME-default}`; write `\\$` for a dollar sign";
            self.fault(site.line, Some(site.name), "bad-reference", message, mend);
        } else if let Some((default, also_for_empty)) = default {
            match self.find(name) {
                Some(found) if !(also_for_empty && found.is_empty()) => value.push_str(&found),
                _ => value.push_str(&self.expand(default, site, depth + 1)),
            }
        } else {
            let found = self.look_up(name, site);
            value.push_str(&found.unwrap_or_default());
        }
        "${".len() + end + "}".len()
    }

    fn find(&self, name: &str) -> Option<String> {
        let own = || self.parsed.entries.iter().rev().find(|entry| entry.name == name).map(|entry| &entry.value);
        self.around.over.get(name).or_else(own).or_else(|| self.around.under.get(name)).cloned()
    }

    fn look_up(&mut self, name: &str, site: &Site<'_>) -> Option<String> {
        let found = self.find(name);
        if found.is_none() {
            self.unset.push((site.line, site.name.to_owned(), name.to_owned()));
        }
        found
    }

    /// Turns references that found nothing into faults, now that all lines are known.
    fn finish(mut self) -> Parsed {
        for (line, name, wanted) in std::mem::take(&mut self.unset) {
            // of the name only so much is shown as is a name somewhere: the rest may be the tail of a password
            let later = self.parsed.entries.iter().find(|entry| entry.name == wanted && entry.line > line);
            let (message, mend) = match later {
                Some(later) => (
                    format!("`{name}` refers to `{wanted}`, which is set only in line {}", later.line),
                    format!("move the line of `{wanted}` before this one"),
                ),
                None => (
                    format!("the value of `{name}` has a `$` followed by a name that is set nowhere"),
                    "put the value in single quotes if the `$` belongs to it; otherwise set that name in an earlier line, or \
                     write `${NAME:-}` to have it empty"
                        .to_owned(),
                ),
            };
            self.fault(line, Some(&name), "unset-reference", message, mend);
        }
        self.parsed.faults.sort_by_key(|fault| fault.line);
        self.parsed
    }
}

/// Where a value stands.
struct Site<'n> {
    line: usize,
    name: &'n str,
    quoted: bool,
}

/// Where the quote that closes stands. In double quotes one after a backslash does not close.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

/// Replaces the escape that `text` begins with; returns how many bytes of it that was.
fn escape(text: &str, quoted: bool, value: &mut String) -> usize {
    let replaced = match text.as_bytes().get(1) {
        Some(b'$') => "$",
        Some(b'n') if quoted => "\n",
        Some(b'r') if quoted => "\r",
        Some(b't') if quoted => "\t",
        Some(b'"') if quoted => "\"",
        Some(b'\\') if quoted => "\\",
        Some(b'\n') if quoted => "",
        // any other backslash is one, as in `C:\data`
        _ => {
            value.push('\\');
            return 1;
        }
    };
    value.push_str(replaced);
    2
}

fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// Where the brace that closes stands, past those of references within.
fn matching_brace(text: &str) -> Option<usize> {
    let mut open = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests;
