//! `password=...`, `"password": "..."`, `Authorization: ...`: a name that tells what its value is.

use std::ops::Range;

use super::{MARK, matches::Matches, shapes::is_word};

/// Names whose values are secrets, as the last part of a longer name too: `DB_PASSWORD`, `clientSecret`.
pub(super) const KEYS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "_pass",
    "-pass",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "privatekey",
    "private_key",
    "private-key",
    "secretkey",
    "secret_key",
    "secret-key",
    "signing_key",
    "encryption_key",
    "credential",
    "credentials",
    "authorization",
    "cookie",
    "cvv",
    "cvc",
    "cardnumber",
    "card_number",
    "card-number",
];

/// What may follow such a name and belongs to it.
const ENDINGS: [&[u8]; 4] = [b"_hash", b"hash", b"_confirmation", b"confirmation"];

/// Values that are none.
const PLAIN: [&[u8]; 12] = [
    b"true",
    b"false",
    b"null",
    b"none",
    b"nil",
    b"undefined",
    b"yes",
    b"no",
    b"required",
    b"missing",
    b"invalid",
    b"expired",
];

/// Schemes whose next word is the secret; after any other it is the rest.
const ONE_WORD: [&[u8]; 5] = [b"bearer", b"basic", b"token", b"apikey", b"negotiate"];

/// Adds the value that belongs to the name from `start` to `end`.
pub(super) fn find(text: &[u8], start: usize, end: usize, found: &mut Matches) {
    let Some(separator) = separator(text, start, end) else { return };
    let word = &text[start..end];
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let value = &text[separator.value..];
    let (value, is_quoted) = match quoted(value) {
        Some(inside) => (inside, true),
        None if value.starts_with(MARK.as_bytes()) || value.starts_with(b"{") => return,
        None if separator.kind == Kind::Colon && is("authorization") => (header(value), false),
        None if separator.kind == Kind::Colon && is("cookie") => (cookie(value), false),
        None => (unquoted(value), false),
    };
    let value = separator.value + value.start..separator.value + value.end;
    let shown = &text[value.clone()];
    let loose = separator.is_loose && !is_quoted;
    let shows_nothing = shown.is_empty()
        || PLAIN.iter().any(|plain| shown.eq_ignore_ascii_case(plain))
        || shown.iter().all(|byte| *byte == b'*')
        || shown.starts_with(MARK.as_bytes());
    let is_folder = is("pwd") && shown.starts_with(b"/");
    let is_prose = loose && (prose(&text[value.start..]) || is("token") && shown.len() < 8);
    if is_quoted && is("authorization") {
        let inside = header(shown);
        found.add(start, value.start + inside.start..value.start + inside.end);
    } else if !shows_nothing && !is_folder && !is_prose {
        found.add(start, value);
    }
}

struct Separator {
    kind: Kind,
    /// The name has no quotes and a space is before the value: so stands a colon in a sentence.
    is_loose: bool,
    /// Where the value begins.
    value: usize,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Equals,
    Colon,
    /// `--password hunter2`
    Space,
}

/// What is between the name and its value.
fn separator(text: &[u8], start: usize, end: usize) -> Option<Separator> {
    let mut at = end + text[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if let Some(ending) = ENDINGS.iter().find(|ending| starts_with(&text[at..], ending)) {
        at += ending.len();
    }
    if text.get(at).is_some_and(|byte| is_word(*byte)) {
        return None;
    }
    let name_end = at;
    at += text[at..].iter().take_while(|byte| **byte == b'\\').count();
    let is_quoted = matches!(text.get(at), Some(b'"' | b'\'' | b'`'));
    at += usize::from(is_quoted) + usize::from(text.get(at) == Some(&b']'));
    if !is_quoted && at > name_end && text.get(at - 1) == Some(&b'\\') {
        return None;
    }
    let spaces = |at: usize| text[at..].iter().take(2).take_while(|byte| **byte == b' ').count();
    let gap = spaces(at);
    let kind = match &text[at + gap..] {
        [b'=', b'=', ..] | [b':', b':', ..] | [b':', b'/', b'/', ..] => return None,
        [b'=', b'>', ..] | [b':', b'=', ..] => (Kind::Equals, 2),
        [b'=', ..] => (Kind::Equals, 1),
        [b':', ..] => (Kind::Colon, 1),
        [byte, ..] if gap > 0 && *byte != b'-' && is_flag(text, start) => (Kind::Space, 0),
        _ => return None,
    };
    let (kind, length) = kind;
    at += gap + length;
    let gap = spaces(at);
    Some(Separator { is_loose: kind == Kind::Colon && !is_quoted && gap > 0, kind, value: at + gap })
}

/// The name that ends here begins with two dashes.
fn is_flag(text: &[u8], start: usize) -> bool {
    let name = text[..start].iter().rev().take_while(|byte| is_word(**byte) || **byte == b'-').count();
    text[start - name..].starts_with(b"--")
}

/// The inside of the quotes a value begins with, which may themselves be escaped. Without an end it is all the rest.
fn quoted(value: &[u8]) -> Option<Range<usize>> {
    let escapes = value.iter().take_while(|byte| **byte == b'\\').count();
    let quote = *value.get(escapes).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
    let begin = escapes + 1;
    let mut run = 0;
    for (at, byte) in value.iter().enumerate().skip(begin) {
        match *byte {
            b'\\' => run += 1,
            byte if byte == quote && run == escapes => return Some(begin..at - run),
            // Inside plain quotes an even number of backslashes is those backslashes and no escape.
            byte if byte == quote && escapes == 0 && run % 2 == 0 => return Some(begin..at),
            _ => run = 0,
        }
    }
    Some(begin..value.len())
}

/// A value without quotes ends with a space, a quote, or a separator that something else follows.
fn unquoted(value: &[u8]) -> Range<usize> {
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match byte {
            byte if byte.is_ascii_whitespace() => break,
            // `Some("hunter2")`
            b'"' | b'\'' if at > 0 && matches!(value[at - 1], b'(' | b'[' | b'=') => {
                let inside = quoted(&value[at..]).unwrap_or(0..1);
                at += inside.end;
            }
            b'"' | b'\'' | b'`' | b'<' | b'>' => break,
            b'\\' if matches!(value.get(at + 1), Some(b'"' | b'\'' | b'n' | b'r' | b't')) => break,
            b',' | b';' | b'&' | b'|' if is_next_name(&value[at + 1..]) => break,
            _ => {}
        }
        at += 1;
    }
    while at > 0 && matches!(value[at - 1], b')' | b']' | b'}' | b',' | b';') && !value[..at].contains(&b'(') {
        at -= 1;
    }
    0..at
}

/// The end, a space, or another name with its value.
fn is_next_name(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let name = rest.iter().take_while(|byte| is_word(**byte) || matches!(byte, b'-' | b'.')).count();
    match rest.get(name) {
        None => name == 0,
        Some(byte) if name == 0 => byte.is_ascii_whitespace(),
        Some(byte) => matches!(byte, b'=' | b':' | b'"'),
    }
}

/// The secret part of an `Authorization` header's value.
fn header(value: &[u8]) -> Range<usize> {
    let end = value.iter().position(|byte| matches!(byte, b'"' | b'\'' | b'`' | b'\r' | b'\n')).unwrap_or(value.len());
    let value = &value[..end];
    let scheme = value.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    if value.get(scheme) == Some(&b' ') {
        let from = scheme + value[scheme..].iter().take_while(|byte| **byte == b' ').count();
        if ONE_WORD.iter().any(|word| value[..scheme].eq_ignore_ascii_case(word)) {
            let word = unquoted(&value[from..]);
            let is_hidden = value[from..].starts_with(MARK.as_bytes());
            return if is_hidden { 0..0 } else { from..from + word.end };
        }
        // Words of a sentence have no `=`, parameters of a scheme do.
        if value[from..].contains(&b'=') {
            return from..end;
        }
    }
    let word = unquoted(value);
    let looks = word.len() >= 8 && value[word.clone()].iter().any(u8::is_ascii_digit) || word.len() >= 20;
    if looks { word } else { 0..0 }
}

/// All of a `Cookie` header's value; 0 bytes of a sentence about a cookie.
fn cookie(value: &[u8]) -> Range<usize> {
    let end = value.iter().position(|byte| matches!(byte, b'"' | b'\'' | b'`' | b'\r' | b'\n')).unwrap_or(value.len());
    let name = value.iter().take_while(|byte| is_word(**byte) || matches!(byte, b'-' | b'.')).count();
    if value.get(name) == Some(&b'=') { 0..end } else { 0..0 }
}

/// A plain word with another behind it: "invalid password: must be longer".
fn prose(value: &[u8]) -> bool {
    let word = value.iter().take_while(|byte| byte.is_ascii_lowercase() || matches!(byte, b'\'' | b',')).count();
    word > 0 && value.get(word) == Some(&b' ') && value.get(word + 1).is_some_and(u8::is_ascii_alphanumeric)
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word)
}
