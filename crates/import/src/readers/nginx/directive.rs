//! A configuration of nginx as a tree of directives.

use crate::tree;

/// A directive: its words, and what stands between its braces.
#[derive(Debug)]
pub(crate) struct Directive {
    /// Line it begins on, from 1.
    pub(crate) line: usize,
    /// The name and what follows, without quotes; never empty.
    pub(crate) words: Vec<String>,
    pub(crate) body: Vec<Directive>,
}

impl Directive {
    /// The first word.
    pub(crate) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// Reads a text; nested no deeper than any file of a person.
pub(crate) fn parse(text: &str) -> Result<Vec<Directive>, String> {
    tree::too_deep(text)?;
    let mut open: Vec<Directive> = Vec::new();
    let mut top = Vec::new();
    let mut words = Vec::new();
    let mut begun = 1;
    for (line, token) in tokens(text)? {
        let mut put = |open: &mut Vec<Directive>, directive: Directive| match open.last_mut() {
            Some(outer) => outer.body.push(directive),
            None => top.push(directive),
        };
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    begun = line;
                }
                words.push(word);
            }
            Token::End if words.is_empty() => {}
            Token::End => {
                let words = std::mem::take(&mut words);
                put(&mut open, Directive { line: begun, words, body: Vec::new() });
            }
            Token::Open if words.is_empty() => {
                return Err(format!("line {line}: a block without a name; mend the file"));
            }
            Token::Open => open.push(Directive { line: begun, words: std::mem::take(&mut words), body: Vec::new() }),
            Token::Close => {
                let Some(closed) = open.pop().filter(|_| words.is_empty()) else {
                    return Err(format!("line {line}: `}}` closes nothing; mend the file"));
                };
                put(&mut open, closed);
            }
        }
    }
    match open.last() {
        Some(open) => Err(format!("line {}: `{}` is never closed; mend the file", open.line, open.name())),
        None if words.is_empty() => Ok(top),
        None => Err(format!("line {begun}: a directive without `;`; mend the file")),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, String> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            c if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            ';' => found.push((line, Token::End)),
            '{' => found.push((line, Token::Open)),
            '}' => found.push((line, Token::Close)),
            '"' | '\'' => {
                let begun = line;
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => return Err(format!("line {begun}: a quote is never closed; mend the file")),
                        Some(end) if end == c => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(other) => {
                            line += usize::from(other == '\n');
                            word.push(other);
                        }
                    }
                }
                found.push((begun, Token::Word(word)));
            }
            first => {
                let mut word = String::from(first);
                // `${name}` is a part of a word
                while let Some(c) = chars
                    .next_if(|c| !c.is_whitespace() && *c != ';' && *c != '}' && (*c != '{' || word.ends_with('$')))
                {
                    word.push(c);
                    if c == '{' {
                        while let Some(c) = chars.next_if(|c| *c != '}' && *c != '\n') {
                            word.push(c);
                        }
                        word.extend(chars.next_if_eq(&'}'));
                    }
                }
                found.push((line, Token::Word(word)));
            }
        }
    }
    Ok(found)
}
