//! How far one function is in the log of one source.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{error::Error, files};

/// Deliveries that are behind it, and those that were tried in vain so far.
#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    place: Place,
    /// Differs from what is on disk.
    unkept: bool,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// All before this are done.
    next: u64,
    /// Done from there on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    done: BTreeSet<u64>,
    /// How often others were tried.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tries: BTreeMap<u64, u32>,
}

impl Cursor {
    /// The place that is written at `path`; `None` when the function never subscribed.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>, Error> {
        let place = files::find_json(path, "remove it: the function then begins with the events that come")?;
        Ok(place.map(|place| Self { path: path.to_owned(), place, unkept: false }))
    }

    /// A function that begins with the event `next`. Durable when it returns.
    pub(crate) fn begin(path: &Path, next: u64) -> Result<Self, Error> {
        let mut cursor = Self { path: path.to_owned(), place: Place { next, ..Place::default() }, unkept: true };
        cursor.keep()?;
        Ok(cursor)
    }

    /// All events before this are done.
    pub(crate) fn next(&self) -> u64 {
        self.place.next
    }

    /// Whether an event is to be delivered.
    pub(crate) fn wants(&self, number: u64) -> bool {
        number >= self.place.next && !self.place.done.contains(&number)
    }

    /// How often the delivery of an event failed.
    pub(crate) fn tries(&self, number: u64) -> u32 {
        self.place.tries.get(&number).copied().unwrap_or(0)
    }

    /// A delivery failed once more. [`keep`](Self::keep) makes it durable.
    pub(crate) fn tried(&mut self, number: u64) {
        *self.place.tries.entry(number).or_default() += 1;
        self.unkept = true;
    }

    /// A delivery is done; `is_there` tells which numbers there are. [`keep`](Self::keep) makes it durable.
    pub(crate) fn done(&mut self, number: u64) {
        self.place.tries.remove(&number);
        if self.wants(number) {
            self.place.done.insert(number);
            while self.place.done.remove(&self.place.next) {
                self.place.next += 1;
            }
            self.unkept = true;
        }
    }

    /// There are no events before `first` any more, apart from what is done.
    pub(crate) fn skip_to(&mut self, first: u64) {
        if first > self.place.next {
            self.place.next = first;
            self.place.done.retain(|number| *number >= first);
            self.place.tries.retain(|number, _| *number >= first);
            while self.place.done.remove(&self.place.next) {
                self.place.next += 1;
            }
            self.unkept = true;
        }
    }

    /// Makes it durable.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        if self.unkept {
            files::replace_json(&self.path, &self.place)?;
            self.unkept = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_may_end_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parse.json");
        assert!(Cursor::find(&path).unwrap().is_none());
        let mut cursor = Cursor::begin(&path, 5).unwrap();
        cursor.done(6);
        cursor.tried(5);
        cursor.tried(5);
        cursor.keep().unwrap();
        let mut cursor = Cursor::find(&path).unwrap().unwrap();
        assert_eq!((cursor.next(), cursor.tries(5), cursor.wants(6), cursor.wants(7)), (5, 2, false, true));
        cursor.done(5);
        assert_eq!((cursor.next(), cursor.tries(5)), (7, 0));
        cursor.done(8);
        cursor.skip_to(8);
        assert_eq!(cursor.next(), 9);
        cursor.skip_to(3);
        assert_eq!(cursor.next(), 9);
    }
}
