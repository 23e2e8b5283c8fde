//! Secrets found in a text.

use std::ops::Range;

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Match {
    /// What must not be seen.
    hidden: Range<usize>,
    /// What it was recognised by, the secret included: `password=hunter2` where `hunter2` is hidden.
    start: usize,
}

/// Secrets found in a text, in order once [`settle`](Self::settle)d.
#[derive(Debug, Default)]
pub(super) struct Matches(Vec<Match>);

impl Matches {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a secret that was recognised by text from `start` on.
    pub(super) fn add(&mut self, start: usize, hidden: Range<usize>) {
        if !hidden.is_empty() {
            self.0.push(Match { start: start.min(hidden.start), hidden });
        }
    }

    /// Sorts, and makes one of those that overlap: nothing of either may be seen.
    pub(super) fn settle(&mut self) {
        self.0.sort_by_key(|one| (one.hidden.start, one.start));
        self.0.dedup_by(|next, one| {
            let overlap = next.hidden.start < one.hidden.end;
            if overlap {
                one.hidden.end = one.hidden.end.max(next.hidden.end);
                one.start = one.start.min(next.start);
            }
            overlap
        });
    }

    /// The text with every secret replaced.
    pub(super) fn hide(&mut self, text: &[u8], mark: &str) -> Vec<u8> {
        self.settle();
        let mut redacted = Vec::with_capacity(text.len() + mark.len());
        let mut done = 0;
        for one in &self.0 {
            redacted.extend_from_slice(&text[done..one.hidden.start]);
            redacted.extend_from_slice(mark.as_bytes());
            done = one.hidden.end;
        }
        redacted.extend_from_slice(&text[done..]);
        redacted
    }

    /// The last place up to `cut` that no secret, with what it is recognised by, lies across.
    pub(super) fn cut_before(&self, mut cut: usize) -> usize {
        loop {
            let across = self.0.iter().filter(|one| one.start < cut && cut < one.hidden.end);
            match across.map(|one| one.start).min() {
                Some(start) => cut = start,
                None => return cut,
            }
        }
    }
}
