//! Takes secrets out of text before anybody sees it: known values in every spelling a program is likely to print, and
//! what has the shape of a secret.
//!
//! Built to live in a process of less than a megabyte: two tables of 8 KiB and the values themselves, no automaton.

mod assignment;
mod card;
mod known;
mod matches;
mod shapes;
mod table;
mod token;

use std::borrow::Cow;

use known::Known;
use matches::Matches;

/// What a secret is replaced with.
pub const MARK: &str = "[redacted]";

/// A text may be cut only where this many bytes after the cut are known: more than any secret that has a shape and a
/// sensible length.
const LONGEST_SHAPE: usize = 4096;

/// Takes known values and what looks like a secret out of text.
#[derive(Debug, Clone)]
pub struct Redactor {
    known: Known,
    mark: &'static str,
}

/// Remembers, from one line to the next, that a private key is being printed. Begin with the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyBlock(bool);

impl Redactor {
    /// Knows `values`, also encoded for URLs, JSON, HTML, shells, base64 (at any offset) and hexadecimal; the password
    /// inside a URL; and each line of a value that has several.
    ///
    /// Values shorter than 4 bytes are ignored: `1`, `dev` or `no` stand in every other line of an honest log, and
    /// hiding them would tell more (where they are hidden) than it hides.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let known = Known::new(values);
        // A mark that holds a secret would leak it at every use.
        let mark = [MARK, "[hidden]", "<****>", "~"].into_iter().find(|mark| !known.is_in(mark.as_bytes()));
        Self { known, mark: mark.unwrap_or("") }
    }

    /// The text without its secrets, borrowed when there are none.
    pub fn redact<'text>(&self, text: &'text str) -> Cow<'text, str> {
        match self.redact_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// Like [`redact`](Self::redact), for text that may not be UTF-8.
    pub fn redact_bytes<'text>(&self, text: &'text [u8]) -> Cow<'text, [u8]> {
        let mut found = self.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut redacted = found.hide(text, self.mark);
        // Text and mark side by side may spell a value that was not there before.
        for _ in 0..4 {
            found = Matches::default();
            self.known.find(&redacted, &mut found);
            if found.is_empty() {
                return Cow::Owned(redacted);
            }
            redacted = found.hide(&redacted, self.mark);
        }
        Cow::Owned(self.mark.as_bytes().to_vec())
    }

    /// Like [`redact_bytes`](Self::redact_bytes) for one line of many, without its end: hides private keys that are
    /// printed over several lines.
    pub fn redact_line<'text>(&self, line: &'text [u8], block: &mut KeyBlock) -> Cow<'text, [u8]> {
        if block.0 {
            block.0 = shapes::is_in_key_block(line);
            if block.0 || shapes::ends_key_block(line) {
                return Cow::Owned(self.mark.as_bytes().to_vec());
            }
        }
        block.0 = shapes::begins_key_block(line);
        self.redact_bytes(line)
    }

    /// How many bytes of `text` may be taken off its front and redacted alone, at most `at_most`: no secret then lies
    /// across the cut, whatever follows `text`. 0 when it is one secret from its first byte on.
    ///
    /// Give at least `at_most +` [`reserve`](Self::reserve) bytes of text.
    pub fn cut(&self, text: &[u8], at_most: usize) -> usize {
        let cut = at_most.min(text.len().saturating_sub(self.reserve()));
        self.find(text).cut_before(cut)
    }

    /// How many bytes behind a cut must be known to make it.
    pub fn reserve(&self) -> usize {
        self.known.longest().max(LONGEST_SHAPE)
    }

    fn find(&self, text: &[u8]) -> Matches {
        let mut found = Matches::default();
        self.known.find(text, &mut found);
        shapes::find(text, &mut found);
        found.settle();
        found
    }
}

#[cfg(test)]
mod tests;
