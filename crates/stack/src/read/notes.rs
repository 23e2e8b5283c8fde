//! What a reading notes down: problems, and the claims that can only be judged once everything has been read.

use std::{
    cell::{Cell, RefCell},
    fmt,
    ops::Range,
};

use crate::{Kind, Problem, ResourceRef, problem::MOST_PROBLEMS};

/// A reference from one place of the file to a resource.
pub(crate) struct Reference {
    pub(crate) to: ResourceRef,
    /// Kinds that make sense there; empty: any.
    pub(crate) wants: &'static [Kind],
    pub(crate) span: Range<usize>,
    pub(crate) key: String,
    /// The service whose `needs` this is, when a start order follows from it.
    pub(crate) from: Option<ResourceRef>,
}

/// A place that takes a variable of the contract.
pub(crate) struct Use {
    pub(crate) variable: String,
    pub(crate) span: Range<usize>,
    pub(crate) key: String,
}

/// A service's port.
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) service: String,
    pub(crate) span: Range<usize>,
    pub(crate) key: String,
}

/// Everything noted during one reading.
#[derive(Default)]
pub(crate) struct Notes {
    problems: RefCell<Vec<Problem>>,
    pub(crate) references: RefCell<Vec<Reference>>,
    pub(crate) uses: RefCell<Vec<Use>>,
    pub(crate) ports: RefCell<Vec<Port>>,
    #[cfg(test)]
    pub(crate) asked: RefCell<std::collections::BTreeMap<String, std::collections::BTreeSet<&'static str>>>,
    full: Cell<bool>,
}

impl Notes {
    /// Notes a problem.
    pub(crate) fn add(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MOST_PROBLEMS {
            problems.push(problem);
        } else if !self.full.replace(true) {
            problems.push(
                Problem::error(
                    "too-many-problems",
                    "",
                    format!("more than {MOST_PROBLEMS} problems; the rest is not listed"),
                )
                .with_mend("mend those listed and run the check again"),
            );
        }
    }

    /// Whether more problems would not be noted.
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    /// The problems noted so far, taken out.
    pub(crate) fn take(&self) -> Vec<Problem> {
        self.problems.take()
    }
}

/// Where a value is: the keys that lead to it.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    /// A key the stack file defines.
    Key(&'p str),
    /// A name the author chose.
    Name(&'p str),
}

impl<'p> Path<'p> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(crate) fn key<'c>(&'c self, key: &'c str) -> Path<'c> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    pub(crate) fn name<'c>(&'c self, name: &'c str) -> Path<'c> {
        Path { parent: Some(self), step: Step::Name(name) }
    }

    fn text(&self) -> Option<&'p str> {
        match self.step {
            Step::Root => None,
            Step::Key(text) | Step::Name(text) => Some(text),
        }
    }

    /// The last key.
    pub(crate) fn last(&self) -> &'p str {
        self.text().unwrap_or("the stack file")
    }

    /// The kind and name of the resource this path lies in.
    pub(crate) fn resource(&self) -> Option<(&'p str, &'p str)> {
        match (self.step, self.parent) {
            (Step::Name(name), Some(Path { step: Step::Key(kind), .. })) => Some((kind, name)),
            (_, Some(parent)) => parent.resource(),
            _ => None,
        }
    }

    /// The place in words, as in "service `api`" or "`size` of service `api`".
    pub(crate) fn place(&self) -> String {
        match (self.step, self.resource()) {
            (Step::Root, _) => "the stack file".to_owned(),
            (Step::Name(name), Some((kind, last))) if name == last => format!("{kind} `{name}`"),
            (Step::Key(key) | Step::Name(key), Some((kind, name))) => format!("`{key}` of {kind} `{name}`"),
            _ => format!("`{self}`"),
        }
    }

    /// The path with every chosen name as `*`.
    #[cfg(test)]
    pub(crate) fn shape(&self) -> String {
        let parent = self.parent.map(Path::shape).unwrap_or_default();
        let step = match self.step {
            Step::Root => return String::new(),
            Step::Key(key) => key,
            Step::Name(_) => "*",
        };
        if parent.is_empty() { step.to_owned() } else { format!("{parent}.{step}") }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(text) = self.text() else { return Ok(()) };
        if let Some(parent) = self.parent.filter(|parent| parent.text().is_some()) {
            write!(f, "{parent}.")?;
        }
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if bare { f.write_str(text) } else { write!(f, "{text:?}") }
    }
}
