//! One page of a listing: which keys, which common prefixes, where the next page begins. Pure.

/// Something with a key, in a listing.
pub(super) trait Listed {
    /// Its key.
    fn key(&self) -> &str;
    /// Its place among the versions of its key: the highest comes first. 0 where keys are listed once.
    fn place(&self) -> i64;
}

/// Where in the order of keys (as bytes), and of versions of one key (newest first), to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The first key that may be listed.
    pub(super) start: Vec<u8>,
    /// Of exactly that key, only versions below this place.
    pub(super) below: Option<i64>,
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Page<T> {
    prefix: String,
    delimiter: Option<String>,
    limit: usize,
    /// What is listed itself, in order.
    pub(super) items: Vec<T>,
    /// Beginnings of keys up to the delimiter, in order.
    pub(super) prefixes: Vec<String>,
    /// There is more than this page holds.
    pub(super) truncated: bool,
    /// Where the next page begins.
    pub(super) next: Position,
    /// What this page ends with: a key or a prefix.
    pub(super) last: String,
}

impl<T: Listed> Page<T> {
    /// An empty page of at most `limit` entries.
    pub(super) fn new(prefix: &str, delimiter: Option<&str>, limit: usize, begin: Position) -> Self {
        let begin = if begin.start.as_slice() < prefix.as_bytes() { Position::at(prefix) } else { begin };
        Self {
            prefix: prefix.to_owned(),
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
            limit,
            items: Vec::new(),
            prefixes: Vec::new(),
            truncated: false,
            next: begin,
            last: String::new(),
        }
    }

    /// Takes rows that begin at `next`, in order; `more` when there may be others after them. Returns whether the page
    /// needs others.
    pub(super) fn feed(&mut self, rows: Vec<T>, more: bool) -> bool {
        if self.limit == 0 {
            return false;
        }
        for row in rows {
            if self.prefixes.last().is_some_and(|prefix| row.key().starts_with(prefix.as_str())) {
                continue;
            }
            if self.items.len() + self.prefixes.len() == self.limit {
                self.truncated = true;
                return false;
            }
            if let Some(common) = common(row.key(), &self.prefix, self.delimiter.as_deref()) {
                self.next = Position { start: past(common), below: None };
                common.clone_into(&mut self.last);
                self.prefixes.push(common.to_owned());
            } else {
                self.next = Position { start: row.key().as_bytes().to_vec(), below: Some(row.place()) };
                row.key().clone_into(&mut self.last);
                self.items.push(row);
            }
        }
        more
    }
}

impl Position {
    /// At a key.
    pub(super) fn at(key: &str) -> Self {
        Self { start: key.as_bytes().to_vec(), below: None }
    }

    /// After a marker: a key, or a common prefix that an earlier page ended with.
    pub(super) fn after(marker: &str, prefix: &str, delimiter: Option<&str>) -> Self {
        let whole = common(marker, prefix, delimiter.filter(|delimiter| !delimiter.is_empty())) == Some(marker);
        let start = if whole { past(marker) } else { next_key(marker.as_bytes()) };
        Self { start, below: None }
    }
}

/// The beginning of `key` up to and with the first delimiter after the prefix.
fn common<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let (rest, delimiter) = (key.strip_prefix(prefix)?, delimiter?);
    let end = prefix.len() + rest.find(delimiter)? + delimiter.len();
    key.get(..end)
}

/// The first key after all that begin with `prefix`; `None`: there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// [`successor`] of a text, which has no byte 255.
fn past(prefix: &str) -> Vec<u8> {
    successor(prefix.as_bytes()).unwrap_or_else(|| vec![u8::MAX])
}

/// The first key after `key`.
fn next_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    impl Listed for (String, i64) {
        fn key(&self) -> &str {
            &self.0
        }
        fn place(&self) -> i64 {
            self.1
        }
    }

    type All = BTreeSet<(Vec<u8>, std::cmp::Reverse<i64>)>;

    /// A page as a bucket's index fills it, `batch` rows at a time.
    fn page(
        all: &All,
        prefix: &str,
        delimiter: Option<&str>,
        limit: usize,
        begin: Position,
        batch: usize,
    ) -> Page<(String, i64)> {
        let mut page = Page::new(prefix, delimiter, limit, begin);
        loop {
            let next = page.next.clone();
            let rows: Vec<(String, i64)> = all
                .iter()
                .filter(|(key, place)| {
                    *key >= next.start
                        && !(*key == next.start && next.below.is_some_and(|below| place.0 >= below))
                        && key.starts_with(prefix.as_bytes())
                })
                .take(batch)
                .map(|(key, place)| (String::from_utf8(key.clone()).unwrap(), place.0))
                .collect();
            let more = rows.len() == batch;
            if !page.feed(rows, more) {
                return page;
            }
        }
    }

    proptest! {
        // proves S1.13
        #[test]
        fn pages_together_are_the_whole_listing(
            keys in proptest::collection::vec(("[ab/-]{0,5}", 1i64..4), 0..40),
            prefix in "[ab/]{0,2}",
            delimiter in proptest::option::of("[/a-]{1,2}"),
            limit in 1usize..6,
            batch in 1usize..5,
            by_marker in any::<bool>(),
        ) {
            // A marker names a key: it fits listings without versions.
            let all: All = keys
                .into_iter()
                .map(|(key, place)| (key.into_bytes(), std::cmp::Reverse(if by_marker { 1 } else { place })))
                .collect();
            let delimiter = delimiter.as_deref();
            let mut expected = (Vec::new(), BTreeSet::new());
            for (key, place) in &all {
                let key = String::from_utf8(key.clone()).unwrap();
                let Some(rest) = key.strip_prefix(&prefix) else { continue };
                match delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len())) {
                    Some(end) => drop(expected.1.insert(format!("{prefix}{}", &rest[..end]))),
                    None => expected.0.push((key, place.0)),
                }
            }
            let mut found = (Vec::new(), Vec::new());
            let mut begin = Position::at("");
            loop {
                let page = page(&all, &prefix, delimiter, limit, begin, batch);
                prop_assert!(page.items.len() + page.prefixes.len() <= limit);
                prop_assert!(!page.truncated || page.items.len() + page.prefixes.len() == limit);
                found.0.extend(page.items.clone());
                found.1.extend(page.prefixes.clone());
                if !page.truncated {
                    break;
                }
                begin = if by_marker { Position::after(&page.last, &prefix, delimiter) } else { page.next };
            }
            prop_assert_eq!(found.0, expected.0);
            prop_assert_eq!(found.1, expected.1.into_iter().collect::<Vec<_>>());
        }
    }
}
