//! What has the shape of a secret.

use std::sync::LazyLock;

use super::{assignment, card, matches::Matches, table::Table, token};

/// Words that something to look at more closely begins or ends with, in lower case.
static TRIGGERS: LazyLock<Table> = LazyLock::new(|| {
    let words = assignment::KEYS.iter().chain(token::PREFIXES).chain(&["://", "bearer ", "basic ", BEGIN]);
    Table::new(words.map(|word| word.to_ascii_lowercase().into_bytes().into()).collect())
});

const BEGIN: &str = "-----begin ";

/// Adds what looks like a secret.
pub(super) fn find(text: &[u8], found: &mut Matches) {
    let table = &*TRIGGERS;
    let mut before = b' ';
    for (start, byte) in text.iter().enumerate() {
        if byte.is_ascii_digit() {
            let is_fraction = before == b'.' && start > 1 && text[start - 2].is_ascii_digit();
            if !is_word(before) && !is_fraction {
                let joined = before == b'-';
                if let Some(length) = card::at(&text[start..], joined) {
                    found.add(start, start..start + length);
                }
            }
        } else if let Some(next) = text.get(start + 1)
            && table.may_begin(byte.to_ascii_lowercase(), next.to_ascii_lowercase())
            && let Some(length) = table.longest_at(&text[start..], |byte| byte.to_ascii_lowercase())
        {
            look(text, start, start + length, before, found);
        }
        before = *byte;
    }
}

/// Looks at the word from `start` to `end`, which may also be a part of another.
fn look(text: &[u8], start: usize, end: usize, before: u8, found: &mut Matches) {
    let word = &text[start..end];
    let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
    if is("://") {
        token::url(text, start, end, found);
    } else if is("bearer ") || is("basic ") {
        if !is_word(before) {
            token::scheme(text, start, end, found);
        }
    } else if is(BEGIN) {
        if begins_key_block(&text[start..]) {
            let rest = &text[end..];
            let block_end = position(rest, b"-----END ").map(|at| {
                let tail = &rest[at + 9..];
                end + at + 9 + position(tail, b"-----").map_or(tail.len(), |at| at + 5)
            });
            found.add(start, start..block_end.unwrap_or(text.len()));
        }
    } else if !token::find(text, start, before, found) {
        assignment::find(text, start, end, found);
    }
}

/// Letters, digits and `_`.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// A private key begins in this line and does not end in it... unless it ends in it, which makes no difference.
pub(super) fn begins_key_block(line: &[u8]) -> bool {
    let Some(begin) = position(line, b"-----BEGIN ") else { return false };
    let label = &line[begin + 11..];
    let label = &label[..position(label, b"-----").unwrap_or(0)];
    position(label, b"PRIVATE KEY").is_some()
}

/// The last line of a private key.
pub(super) fn ends_key_block(line: &[u8]) -> bool {
    position(line, b"-----END ").is_some()
}

/// A line that may stand within a private key: base64, or a header of the old form. Anything else shows that the key
/// was left off in the middle, so that a log is not silent for ever.
pub(super) fn is_in_key_block(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    line.starts_with(b"Proc-Type:") || line.starts_with(b"DEK-Info:") || line.iter().all(base64)
}
