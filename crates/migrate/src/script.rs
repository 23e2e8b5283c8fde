//! One SQL file as the statements in it.
//!
//! The splitter knows quotes, dollar quotes, comments, parentheses and the bodies of routines and triggers, because a
//! `;` inside any of them does not end a statement.

use std::ops::Range;

use crate::address::Engine;

/// The statements of one file and how they want to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// In order.
    pub(crate) statements: Vec<Statement>,
    /// Run one by one outside a transaction.
    pub(crate) no_transaction: bool,
    /// SQLite: foreign keys are off while it runs and checked before it is committed.
    pub(crate) foreign_keys_off: bool,
}

/// One statement, without its leading comments and its `;`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its bytes in the file.
    pub(crate) range: Range<usize>,
    /// Its leading words, uppercase, at most six.
    pub(crate) words: Vec<String>,
    /// It is a `... CONCURRENTLY`, which takes no lock that blocks visitors.
    pub(crate) concurrently: bool,
    /// It is a `COPY ... FROM STDIN`.
    copies_stdin: bool,
}

/// Something that keeps a script from being run: line (1-based) and why, with the mend.
pub(crate) type ScriptProblem = (usize, String);

/// Line and column (1-based, in characters) of a byte offset.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor_boundary(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The text of a line (1-based), without its end.
pub(crate) fn line_text(text: &str, line: usize) -> &str {
    text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

impl Script {
    /// Splits a file and checks that a runner may run it.
    pub(crate) fn parse(text: &str, engine: Engine) -> Result<Self, Vec<ScriptProblem>> {
        let mut scanner =
            Scanner { text, bytes: text.as_bytes(), engine, at: 0, script: Self::default(), problems: vec![] };
        scanner.scan();
        let Scanner { script, mut problems, .. } = scanner;
        for statement in &script.statements {
            if let Some(reason) = script.refusal(statement, text, engine) {
                problems.push((line_column(text, statement.range.start).0, reason));
            }
        }
        problems.sort();
        if problems.is_empty() { Ok(script) } else { Err(problems) }
    }

    fn refusal(&self, statement: &Statement, text: &str, engine: Engine) -> Option<String> {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        let own = |word: &str| {
            Some(format!(
                "has its own {word}; remove it: the whole file is one transaction already (with `-- slipway: no-transaction` \
                 on its first line each statement is one by itself)"
            ))
        };
        match words.as_slice() {
            ["BEGIN" | "COMMIT" | "END" | "ABORT", ..] => own(words[0]),
            ["START", "TRANSACTION", ..] => own("START TRANSACTION"),
            ["PREPARE", "TRANSACTION", ..] => own("PREPARE TRANSACTION"),
            ["ROLLBACK", "TO", ..] | ["ROLLBACK", "TRANSACTION" | "WORK", "TO", ..] => None,
            ["ROLLBACK", ..] => own("ROLLBACK"),
            ["PRAGMA", "FOREIGN_KEYS", ..] if engine == Engine::Sqlite && !self.no_transaction => Some(
                "sets `PRAGMA foreign_keys`, which has no effect inside a transaction; put `-- slipway: \
                 foreign-keys-off` on the first line instead: they are checked before the commit"
                    .to_owned(),
            ),
            _ if statement.copies_stdin => {
                Some("copies from stdin, which only psql can do; write INSERT statements".to_owned())
            }
            _ if text[statement.range.clone()].starts_with('\\') => {
                Some("is a psql command; write it as SQL or remove it".to_owned())
            }
            _ => None,
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    engine: Engine,
    at: usize,
    script: Script,
    problems: Vec<ScriptProblem>,
}

/// The statement being read.
#[derive(Default)]
struct Open {
    start: Option<usize>,
    end: usize,
    words: Vec<String>,
    parentheses: usize,
    blocks: usize,
    /// The word before.
    last: String,
    copies_stdin: bool,
    concurrently: bool,
}

impl Open {
    /// A routine or trigger, whose body may hold `BEGIN ... END`.
    fn has_body(&self) -> bool {
        self.words.first().is_some_and(|word| word == "CREATE")
            && self.words[1..]
                .iter()
                .find(|word| !matches!(word.as_str(), "OR" | "REPLACE" | "TEMP" | "TEMPORARY" | "CONSTRAINT"))
                .is_some_and(|word| matches!(word.as_str(), "FUNCTION" | "PROCEDURE" | "TRIGGER"))
    }

    fn word(&mut self, word: &str) {
        let word = word.to_ascii_uppercase();
        if self.parentheses == 0 && self.has_body() {
            match word.as_str() {
                "BEGIN" => self.blocks += 1,
                "CASE" if self.blocks > 0 => self.blocks += 1,
                "END" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        let copy = self.words.first().is_some_and(|first| first == "COPY");
        self.copies_stdin |= copy && self.last == "FROM" && word == "STDIN";
        self.concurrently |= self.parentheses == 0 && word == "CONCURRENTLY";
        if self.words.len() < 6 {
            self.words.push(word.clone());
        }
        self.last = word;
    }
}

impl Scanner<'_> {
    fn scan(&mut self) {
        let mut open = Open::default();
        while self.at < self.bytes.len() {
            let start = self.at;
            let byte = self.bytes[start];
            if byte.is_ascii_whitespace() {
                self.at += 1;
                continue;
            }
            if self.starts("--") {
                self.line_comment(open.start.is_none() && self.script.statements.is_empty());
                continue;
            }
            if self.starts("/*") {
                self.block_comment();
                continue;
            }
            if byte == b';' && open.parentheses == 0 && open.blocks == 0 {
                self.at += 1;
                self.close(std::mem::take(&mut open));
                continue;
            }
            open.start.get_or_insert(start);
            self.token(byte, &mut open);
            open.end = self.at;
        }
        if open.blocks > 0
            && let Some(start) = open.start
        {
            self.problem(start, "has a BEGIN without its END; write the END and a `;` after it");
        }
        self.close(open);
    }

    fn token(&mut self, byte: u8, open: &mut Open) {
        let sqlite = self.engine == Engine::Sqlite;
        match byte {
            b'\'' => self.quoted(b'\'', false),
            b'"' => self.quoted(b'"', false),
            b'`' if sqlite => self.quoted(b'`', false),
            b'[' if sqlite => self.until("]", "bracket"),
            b'$' if !sqlite => match self.dollar_tag() {
                Some(tag) => self.until(&tag, "dollar quote"),
                None => self.at += 1,
            },
            b'(' => {
                open.parentheses += 1;
                self.at += 1;
            }
            b')' => {
                open.parentheses = open.parentheses.saturating_sub(1);
                self.at += 1;
            }
            _ if is_word(byte) => {
                let start = self.at;
                while self.at < self.bytes.len() && (is_word(self.bytes[self.at]) || self.bytes[self.at] == b'$') {
                    self.at += 1;
                }
                let word = &self.text[start..self.at];
                if !sqlite && word.eq_ignore_ascii_case("e") && self.starts("'") {
                    self.quoted(b'\'', true);
                } else if !byte.is_ascii_digit() {
                    open.word(word);
                }
            }
            _ => self.at += 1,
        }
    }

    fn close(&mut self, open: Open) {
        if let Some(start) = open.start {
            self.script.statements.push(Statement {
                range: start..open.end,
                words: open.words,
                concurrently: open.concurrently,
                copies_stdin: open.copies_stdin,
            });
        }
    }

    fn starts(&self, what: &str) -> bool {
        self.bytes[self.at..].starts_with(what.as_bytes())
    }

    fn problem(&mut self, offset: usize, reason: &str) {
        self.problems.push((line_column(self.text, offset).0, reason.to_owned()));
    }

    fn line_comment(&mut self, may_direct: bool) {
        let start = self.at;
        self.at = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        let comment = self.text[start..self.at].trim_start_matches('-').trim();
        let directive = comment.strip_prefix("slipway:").map(str::trim);
        match directive {
            Some(_) if !may_direct => {
                self.problem(
                    start,
                    "is a `-- slipway:` line after the first statement; move it to the top of the file",
                );
            }
            Some("no-transaction") => self.script.no_transaction = true,
            Some("foreign-keys-off") if self.engine == Engine::Sqlite => self.script.foreign_keys_off = true,
            Some(other) => {
                let reason = format!(
                    "`-- slipway: {other}` is not known here; {} understands {}",
                    self.engine,
                    if self.engine == Engine::Sqlite {
                        "`no-transaction` and `foreign-keys-off`"
                    } else {
                        "`no-transaction`"
                    }
                );
                self.problem(start, &reason);
            }
            None if may_direct && comment == "no-transaction" => self.script.no_transaction = true,
            None => {}
        }
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let nests = self.engine == Engine::Postgres;
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            if self.starts("/*") && (nests || depth == 0) {
                depth += 1;
                self.at += 2;
            } else if self.starts("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
        self.problem(start, "opens a comment that never ends; close it with `*/`");
    }

    /// A quoted token whose quote is doubled inside.
    fn quoted(&mut self, quote: u8, backslashes: bool) {
        let start = self.at;
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'\\' if backslashes => self.at = (self.at + 2).min(self.bytes.len()),
                byte if byte == quote => {
                    self.at += 1;
                    if self.bytes.get(self.at) != Some(&quote) {
                        return;
                    }
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.problem(start, &format!("opens a `{}` that is never closed; close it", char::from(quote)));
    }

    /// Moves past `end`, which is looked for after a first copy as long as itself.
    fn until(&mut self, end: &str, what: &str) {
        let start = self.at;
        let body = start + end.len();
        if let Some(length) = self.text[body..].find(end) {
            self.at = body + length + end.len();
        } else {
            self.at = self.bytes.len();
            self.problem(start, &format!("opens a {what} that is never closed; close it with `{end}`"));
        }
    }

    /// The `$tag$` that starts here, if one does.
    fn dollar_tag(&self) -> Option<String> {
        let rest = &self.text[self.at + 1..];
        let tag = &rest[..rest.find('$')?];
        let sound = tag.bytes().all(is_word) && !tag.as_bytes().first().is_some_and(u8::is_ascii_digit);
        sound.then(|| format!("${tag}$"))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, engine: Engine) -> Vec<&str> {
        let script = Script::parse(text, engine).unwrap();
        script.statements.into_iter().map(|statement| &text[statement.range]).collect()
    }

    #[test]
    fn quotes_comments_and_bodies_do_not_end_a_statement() {
        let text = "-- a;\nSELECT ';', \"a;b\", 'it''s;' /* ; /* ; */ ; */ , E'\\';' ;\n SELECT $$ ; $$, $x$ $$;' $x$;;\
                    CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);\
                    CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;\
                    SELECT $1, a$b$c FROM t";
        let statements = split(text, Engine::Postgres);
        assert_eq!(statements.len(), 5, "{statements:#?}");
        assert!(statements[0].starts_with("SELECT ';'") && statements[0].ends_with("E'\\';'"));
        assert_eq!(statements[1], "SELECT $$ ; $$, $x$ $$;' $x$");
        assert!(statements[3].ends_with("END"));
        assert_eq!(statements[4], "SELECT $1, a$b$c FROM t");
    }

    #[test]
    fn sqlite_triggers_brackets_and_backticks() {
        let text = "CREATE TEMP TRIGGER IF NOT EXISTS [a;b] AFTER INSERT ON t BEGIN\n UPDATE t SET x = CASE WHEN 1 THEN 2 END;\n \
                    DELETE FROM `u;v`;\nEND;\nCREATE TABLE t (a TEXT DEFAULT '\\');\nSELECT 1 -- end";
        let statements = split(text, Engine::Sqlite);
        assert_eq!(statements.len(), 3, "{statements:#?}");
        assert!(statements[0].ends_with("END"));
        assert_eq!(statements[2], "SELECT 1");
    }

    #[test]
    fn own_transactions_are_refused_with_their_line() {
        let problems =
            Script::parse("CREATE TABLE a (b int);\n\nBEGIN;\nSELECT 1;\nCOMMIT;", Engine::Postgres).unwrap_err();
        assert_eq!(problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5]);
        for sound in ["SAVEPOINT a; ROLLBACK TO a; RELEASE a", "DO $$ BEGIN COMMIT; END $$", "ROLLBACK WORK TO a"] {
            Script::parse(sound, Engine::Postgres).unwrap();
        }
        for bad in [
            "start transaction",
            "END",
            "rollback",
            "PREPARE TRANSACTION 'x'",
            "\\connect x",
            "COPY t FROM stdin;",
            "SELECT 'x",
            "SELECT $a$ $b$",
            "/* /* */",
            "SELECT 1; -- slipway: no-transaction",
            "-- slipway: no-such-thing\nSELECT 1",
        ] {
            Script::parse(bad, Engine::Postgres).unwrap_err();
        }
        Script::parse("PRAGMA foreign_keys = off; SELECT 1", Engine::Sqlite).unwrap_err();
        Script::parse("CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1;", Engine::Sqlite).unwrap_err();
    }

    #[test]
    fn directives_stand_before_the_first_statement() {
        for text in [
            "-- slipway: no-transaction\nSELECT 1",
            "\n-- what it does\n-- no-transaction\nVACUUM",
            "--no-transaction\nSELECT 1",
        ] {
            assert!(Script::parse(text, Engine::Postgres).unwrap().no_transaction, "{text}");
        }
        let script = Script::parse("SELECT 1;\n-- no-transaction\nSELECT 2", Engine::Postgres).unwrap();
        assert!(!script.no_transaction);
        let script = Script::parse("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", Engine::Postgres).unwrap();
        assert!(script.statements[0].concurrently);
    }

    #[test]
    fn positions_count_characters() {
        let text = "ä\nöü x";
        assert_eq!(line_column(text, text.find('x').unwrap()), (2, 4));
        assert_eq!(line_text(text, 2), "öü x");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_split_without_a_panic(text in "[-a-eE$'\";*/()\\[\\]`\\\\ \n_0-9ä]{0,60}") {
            for engine in [Engine::Postgres, Engine::Sqlite] {
                if let Ok(script) = Script::parse(&text, engine) {
                    for statement in script.statements {
                        proptest::prop_assert!(!text[statement.range].is_empty());
                    }
                }
            }
        }
    }
}
