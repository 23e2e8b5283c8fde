//! A place in a tree, and the record of what became of it.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    report::{Entry, Fate},
    trap::Trap,
    tree::{Node, Value},
};

/// What was said of the keys of one file. Every leaf gets an entry in the end: one of its own, or that of the nearest
/// key above it that has one.
#[derive(Default)]
pub(crate) struct Marks {
    said: RefCell<BTreeMap<String, Mark>>,
}

#[derive(Clone)]
struct Mark {
    fate: Fate,
    reason: String,
    trap: Option<Trap>,
}

/// A node, its path, and where to say what became of it.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    marks: &'a Marks,
}

impl<'a> Cursor<'a> {
    /// The root of a file.
    pub(crate) fn root(node: &'a Node, marks: &'a Marks) -> Self {
        Self { node, path: String::new(), marks }
    }

    /// A document of a file with several, as in `#2`.
    pub(crate) fn document(node: &'a Node, marks: &'a Marks, name: String) -> Self {
        Self { node, path: name, marks }
    }

    /// The value of a key.
    pub(crate) fn find(&self, key: &str) -> Option<Cursor<'a>> {
        Some(self.at(self.node.find(key)?, join(&self.path, key)))
    }

    /// The value below several keys.
    pub(crate) fn find_below(&self, keys: &[&str]) -> Option<Cursor<'a>> {
        keys.iter().try_fold(self.clone(), |at, key| at.find(key))
    }

    /// The entries of a map.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Cursor<'a>)> {
        match &self.node.value {
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key.as_str(), self.at(node, join(&self.path, key)))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The items of a list; a scalar alone counts as a list of one.
    pub(crate) fn items(&self) -> Vec<Cursor<'a>> {
        match &self.node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(index, node)| self.at(node, format!("{}[{index}]", self.path))).collect()
            }
            Value::Null | Value::Map(_) => Vec::new(),
            _ => vec![self.clone()],
        }
    }

    /// Pairs of a map, or of a list of `NAME=value`; a name alone has no value.
    pub(crate) fn pairs(&self) -> Vec<(String, Option<String>, Cursor<'a>)> {
        match &self.node.value {
            Value::Map(_) => {
                self.entries().into_iter().map(|(key, at)| (key.to_owned(), at.node.scalar(), at)).collect()
            }
            _ => self
                .items()
                .into_iter()
                .filter_map(|at| {
                    let text = at.node.scalar()?;
                    Some(match text.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned()), at),
                        None => (text, None, at),
                    })
                })
                .collect(),
        }
    }

    /// The scalar as text.
    pub(crate) fn text(&self) -> Option<String> {
        self.node.scalar()
    }

    /// The scalar of a key, which is marked as kept.
    pub(crate) fn take(&self, key: &str) -> Option<String> {
        let at = self.find(key)?;
        let text = at.text()?;
        at.kept();
        Some(text)
    }

    /// Says that the stack says the same.
    pub(crate) fn kept(&self) {
        self.mark(Fate::Kept, "", None);
    }

    /// Says that the stack says the same, and where.
    pub(crate) fn kept_as(&self, place: &str) {
        self.mark(Fate::Kept, place, None);
    }

    /// Says that it is said in another way, or that Slipway does it by itself.
    pub(crate) fn changed(&self, reason: &str) {
        self.mark(Fate::Changed, reason, None);
    }

    /// Says that it is not carried over.
    pub(crate) fn refused(&self, reason: &str) {
        self.mark(Fate::Refused, reason, None);
    }

    /// Says that it is a known mistake, and what was done.
    pub(crate) fn trapped(&self, trap: Trap, fate: Fate, reason: &str) {
        self.mark(fate, reason, Some(trap));
    }

    fn mark(&self, fate: Fate, reason: &str, trap: Option<Trap>) {
        let mut said = self.marks.said.borrow_mut();
        // a known mistake is not talked over
        if trap.is_none() && said.get(&self.path).is_some_and(|mark| mark.trap.is_some()) {
            return;
        }
        said.insert(self.path.clone(), Mark { fate, reason: reason.to_owned(), trap });
    }

    fn at(&self, node: &'a Node, path: String) -> Cursor<'a> {
        Cursor { node, path, marks: self.marks }
    }
}

/// Entries for every leaf below `root`, and for every marked key that is none.
pub(crate) fn entries(file: &str, root: &Cursor<'_>, otherwise: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    let start = Mark { fate: Fate::Refused, reason: otherwise.to_owned(), trap: None };
    walk(file, root, &start, &mut found);
    found
}

fn walk(file: &str, at: &Cursor<'_>, above: &Mark, found: &mut Vec<Entry>) {
    let own = at.marks.said.borrow().get(&at.path).cloned();
    let mark = own.clone().unwrap_or_else(|| Mark { trap: None, ..above.clone() });
    let below: Vec<Cursor<'_>> = match &at.node.value {
        Value::Map(_) => at.entries().into_iter().map(|(_, at)| at).collect(),
        Value::List(_) => at.items(),
        _ => Vec::new(),
    };
    // a mistake is told once, where it is
    if below.is_empty() || own.as_ref().is_some_and(|mark| mark.trap.is_some()) {
        found.push(Entry {
            file: file.to_owned(),
            line: (at.node.line > 0).then_some(at.node.line),
            key: if at.path.is_empty() { ".".to_owned() } else { at.path.clone() },
            fate: mark.fate,
            reason: mark.reason.clone(),
            trap: mark.trap,
        });
    }
    for child in below {
        walk(file, &child, &mark, found);
    }
}

fn join(path: &str, key: &str) -> String {
    // keys with dots of their own stand in quotes
    let key = if key.contains('.') || key.is_empty() { format!("\"{key}\"") } else { key.to_owned() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
