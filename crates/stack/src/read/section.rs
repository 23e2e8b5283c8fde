//! A table of the document and its values, asked key by key.

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, ops::Range, ops::RangeInclusive, str::FromStr};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::notes::{Notes, Path, Reference, Use};
use crate::{
    BadQuantity, Kind, Problem, ResourceName, ResourceRef,
    suggest::{listed, suggest},
    template,
};

/// Longest list of texts: nothing a person writes is longer.
const LONGEST_LIST: usize = 1000;

/// One table of the document. Asking it for a key makes that key known.
pub(crate) struct Section<'s> {
    pub(crate) path: Path<'s>,
    /// The key that names this table.
    pub(crate) span: Range<usize>,
    pub(crate) table: &'s DeTable<'s>,
    pub(crate) notes: &'s Notes,
    known: RefCell<Vec<&'static str>>,
}

/// One value of the document with the key that holds it.
pub(crate) struct Entry<'s> {
    pub(crate) path: Path<'s>,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: &'s Spanned<DeValue<'s>>,
    pub(crate) notes: &'s Notes,
}

impl<'s> Section<'s> {
    /// The whole document.
    pub(crate) fn root(table: &'s DeTable<'s>, notes: &'s Notes) -> Self {
        Self { path: Path::ROOT, span: 0..0, table, notes, known: RefCell::default() }
    }

    /// The value of `key`.
    pub(crate) fn find(&self, key: &'static str) -> Option<Entry<'_>> {
        self.known.borrow_mut().push(key);
        let (name, value) = self.table.get_key_value(key)?;
        Some(Entry { path: self.path.key(key), key_span: name.span(), value, notes: self.notes })
    }

    /// Every value, for tables whose keys are names the author chose.
    pub(crate) fn each(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.iter().map(|(name, value)| Entry {
            path: self.path.name(name.get_ref()),
            key_span: name.span(),
            value,
            notes: self.notes,
        })
    }

    /// Text that is not empty.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.find(key)?.filled().map(str::to_owned)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(entry) = self.find(key) else { return default };
        entry.value.get_ref().as_bool().unwrap_or_else(|| {
            entry.wrong_type("`true` or `false`");
            default
        })
    }

    /// A whole number within `range`.
    pub(crate) fn whole<T: TryFrom<i64>>(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<T> {
        self.find(key)?.whole(range)
    }

    /// Text with a form of its own, such as a duration; a bare number counts as its text.
    pub(crate) fn parse<T: FromStr<Err = BadQuantity>>(&self, key: &'static str) -> Option<T> {
        let entry = self.find(key)?;
        entry.quantity(entry.scalar()?.parse())
    }

    /// Text that `check` accepts.
    pub(crate) fn checked(&self, key: &'static str, check: fn(&str) -> Result<(), BadQuantity>) -> Option<String> {
        let entry = self.find(key)?;
        let text = entry.filled()?;
        entry.quantity(check(text)).map(|()| text.to_owned())
    }

    /// One of a few words.
    pub(crate) fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.find(key)?.choice(choices)
    }

    /// A path below the stack file's folder, in its shortest form.
    pub(crate) fn path(&self, key: &'static str) -> Option<String> {
        self.find(key)?.relative_path()
    }

    /// A text, or a list of texts.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<Entry<'_>> {
        self.find(key).map(|entry| entry.items()).unwrap_or_default()
    }

    /// A table of texts; numbers and flags count as their text.
    pub(crate) fn map(&self, key: &'static str) -> BTreeMap<String, String> {
        let Some(table) = self.table(key) else { return BTreeMap::new() };
        let pair = |entry: Entry<'_>| Some((entry.path.last().to_owned(), entry.scalar()?.into_owned()));
        table.each().filter_map(pair).collect()
    }

    /// A table below this one.
    pub(crate) fn table(&self, key: &'static str) -> Option<Section<'_>> {
        self.find(key)?.section()
    }

    /// References to resources of the kinds `wants` (empty: any).
    pub(crate) fn references(&self, key: &'static str, wants: &'static [Kind]) -> Vec<ResourceRef> {
        self.texts(key).iter().filter_map(|entry| entry.reference(wants)).collect()
    }

    /// The name of a service.
    pub(crate) fn service_name(&self, key: &'static str) -> Option<ResourceName> {
        let entry = self.find(key)?;
        entry.named_reference(Kind::Service).map(|reference| reference.name)
    }

    /// Text in which `${NAME}` takes a variable.
    pub(crate) fn template(&self, key: &'static str) -> Option<String> {
        let entry = self.find(key)?;
        let text = entry.filled()?;
        entry.check_template(text);
        Some(text.to_owned())
    }

    /// A problem of this table as a whole.
    pub(crate) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::error(code, self.path.to_string(), message).with_span(self.span.clone())
    }

    /// Notes that `key` must be there.
    pub(crate) fn missing(&self, key: &str, mend: &str) {
        let message = format!("{} has no `{key}`", self.path.place());
        self.notes.add(self.problem("missing-key", message).with_mend(mend));
    }

    /// Whether the table has this key; does not make it known.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes every key nobody asked for. `moved` says where well-known words live here: old word, its place.
    pub(crate) fn finish(self, moved: &[(&'static str, &'static str)]) {
        self.finish_but(|_| false, moved);
    }

    /// Like `finish`, for tables whose keys are partly names: those `named` accepts are known.
    pub(crate) fn finish_but(self, named: impl Fn(&str) -> bool, moved: &[(&'static str, &'static str)]) {
        let known = self.known.into_inner();
        #[cfg(test)]
        self.notes.asked.borrow_mut().entry(self.path.shape()).or_default().extend(known.iter().copied());
        for (name, _) in self.table {
            let word = name.get_ref().as_ref();
            if known.contains(&word) || named(word) {
                continue;
            }
            let place_of = |word: &str| moved.iter().find(|(old, _)| *old == word).map(|(_, place)| *place);
            let mend = if let Some(place) = place_of(word) {
                format!("write it as `{place}`")
            } else if let Some(near) = suggest(word, known.iter().copied().chain(moved.iter().map(|(old, _)| *old))) {
                format!("did you mean `{}`?", place_of(near).unwrap_or(near))
            } else if named(&format!("/{word}")) {
                format!("did you mean `/{}`? a path starts with `/`", shortened(word))
            } else {
                format!("known keys here: {}", known.join(", "))
            };
            let message = format!("unknown key `{}` in {}", shortened(word), self.path.place());
            let problem = Problem::error("unknown-key", self.path.key(word).to_string(), message);
            self.notes.add(problem.with_span(name.span()).with_mend(mend));
        }
    }
}

impl<'s> Entry<'s> {
    /// A problem about the value.
    pub(crate) fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::error(code, self.path.to_string(), message).with_span(self.value.span())
    }

    /// A problem about the key.
    pub(crate) fn key_problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::error(code, self.path.to_string(), message).with_span(self.key_span.clone())
    }

    /// Notes that the value should have been something else.
    pub(crate) fn wrong_type(&self, wanted: &str) {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{} is {found}", self.path.place());
        self.notes.add(self.problem("wrong-type", message).with_mend(format!("write {wanted}")));
    }

    /// The value as a table.
    pub(crate) fn section(&self) -> Option<Section<'s>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong_type("a table");
            return None;
        };
        let (path, span, notes) = (self.path, self.key_span.clone(), self.notes);
        Some(Section { path, span, table, notes, known: RefCell::default() })
    }

    /// Text, possibly empty.
    pub(crate) fn text(&self) -> Option<&'s str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type("text in quotes");
        }
        text
    }

    /// Text that is not empty.
    pub(crate) fn filled(&self) -> Option<&'s str> {
        let text = self.text()?;
        if text.trim().is_empty() || text.contains('\0') {
            let message = format!("{} is empty", self.path.place());
            self.notes.add(self.problem("empty-value", message).with_mend("write a value, or remove the key"));
            return None;
        }
        Some(text)
    }

    /// Text, a number or a flag, as text.
    pub(crate) fn scalar(&self) -> Option<Cow<'s, str>> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(Cow::Borrowed(text.as_ref())),
            DeValue::Integer(number) if number.radix() == 10 => Some(Cow::Borrowed(number.as_str())),
            DeValue::Float(number) => Some(Cow::Borrowed(number.as_str())),
            DeValue::Boolean(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            _ => {
                self.wrong_type("text in quotes, or a number");
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(crate) fn whole<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Option<T> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            self.wrong_type("a whole number without quotes");
            return None;
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| range.contains(n));
        if value.is_none() {
            let message = format!("{} is {}", self.path.place(), shortened(number.as_str()));
            let mend = format!("write a number from {} to {}", range.start(), range.end());
            self.notes.add(self.problem("out-of-range", message).with_mend(mend));
        }
        T::try_from(value?).ok()
    }

    /// The outcome of a parse; a refusal becomes a problem.
    pub(crate) fn quantity<T>(&self, parsed: Result<T, BadQuantity>) -> Option<T> {
        parsed
            .map_err(|bad| {
                let message = format!("{}: `{}` is not {}", self.path.place(), shortened(&bad.value), bad.what);
                self.notes.add(self.problem(bad.code(), message).with_mend(bad.mend));
            })
            .ok()
    }

    /// One of a few words.
    pub(crate) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        if found.is_none() {
            let mend = match suggest(text, choices.iter().map(|(word, _)| *word)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write {}", listed(choices.iter().map(|(word, _)| *word))),
            };
            let message = format!("{} is `{}`", self.path.place(), shortened(text));
            self.notes.add(self.problem("unknown-choice", message).with_mend(mend));
        }
        found
    }

    /// The items of a list; a text alone is a list of one.
    pub(crate) fn items(&self) -> Vec<Entry<'s>> {
        let entry = |value: &'s Spanned<DeValue<'s>>| Entry {
            path: self.path,
            key_span: self.key_span.clone(),
            value,
            notes: self.notes,
        };
        match self.value.get_ref() {
            DeValue::String(_) => vec![entry(self.value)],
            DeValue::Array(list) => {
                if list.len() > LONGEST_LIST {
                    let message = format!("{} lists {} values", self.path.place(), list.len());
                    let mend = format!("write at most {LONGEST_LIST}");
                    self.notes.add(self.problem("too-long", message).with_mend(mend));
                }
                list.iter().take(LONGEST_LIST).map(entry).collect()
            }
            _ => {
                self.wrong_type("text in quotes, or a list of texts");
                Vec::new()
            }
        }
    }

    /// A path below the stack file's folder, in its shortest form.
    pub(crate) fn relative_path(&self) -> Option<String> {
        let text = self.filled()?;
        let drive = text.as_bytes().get(1) == Some(&b':');
        let mend = if text.starts_with(['/', '~']) || drive {
            "write a path relative to the folder of the stack file"
        } else if text.contains('\\') {
            "separate folders with `/`"
        } else if text.split('/').any(|part| part == "..") {
            "a path may not leave the folder of the stack file; move what it needs below it"
        } else if text.chars().any(char::is_control) {
            "remove the control character"
        } else {
            let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            return Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") });
        };
        let message = format!("{} is the path `{}`", self.path.place(), shortened(text).escape_debug());
        self.notes.add(self.problem("bad-path", message).with_mend(mend));
        None
    }

    /// A reference `kind.name` to a resource of the kinds `wants`.
    pub(crate) fn reference(&self, wants: &'static [Kind]) -> Option<ResourceRef> {
        let text = self.filled()?;
        match text.parse::<ResourceRef>() {
            Ok(to) => {
                self.refer(to.clone(), wants, None);
                Some(to)
            }
            Err(bad) => {
                let message = format!("{}: `{}` is no reference", self.path.place(), shortened(text));
                let (kind, name) = text.split_once('.').unwrap_or((text, "NAME"));
                let near = suggest(kind, Kind::ALL.iter().map(|kind| kind.as_str()))
                    .filter(|near| *near != kind || name == "NAME");
                let mend = near.map_or_else(
                    || bad.reason.to_owned(),
                    |near| format!("did you mean `{near}.{}`?", shortened(name)),
                );
                self.notes.add(self.problem("bad-reference", message).with_mend(mend));
                None
            }
        }
    }

    /// A reference to a resource of `kind` by its bare name.
    pub(crate) fn named_reference(&self, kind: Kind) -> Option<ResourceRef> {
        let text = self.filled()?;
        if let Ok(name) = ResourceName::new(text) {
            let to = ResourceRef { kind, name };
            self.refer(to.clone(), &[], None);
            return Some(to);
        }
        let message = format!("{}: `{}` is no name of a {kind}", self.path.place(), shortened(text));
        let bare = text.split_once('.').filter(|(before, _)| *before == kind.as_str()).map(|(_, name)| name);
        let mend =
            bare.map_or_else(|| format!("write the name that follows `[{kind}.`"), |name| format!("write `{name}`"));
        self.notes.add(self.problem("bad-reference", message).with_mend(mend));
        None
    }

    /// Notes a reference for later.
    pub(crate) fn refer(&self, to: ResourceRef, wants: &'static [Kind], from: Option<ResourceRef>) {
        let (span, key) = (self.value.span(), self.path.to_string());
        self.notes.references.borrow_mut().push(Reference { to, wants, span, key, from });
    }

    /// Notes the variables a text takes.
    pub(crate) fn check_template(&self, text: &str) {
        match template::variables(text) {
            Ok(mut names) => {
                names.sort_unstable();
                names.dedup();
                let (span, key) = (self.value.span(), self.path.to_string());
                let uses = names.into_iter().map(|name| Use {
                    variable: name.to_owned(),
                    span: span.clone(),
                    key: key.clone(),
                });
                self.notes.uses.borrow_mut().extend(uses);
            }
            Err(bad) => {
                let message = format!("{}: {}", self.path.place(), bad);
                self.notes.add(
                    self.problem("bad-template", message)
                        .with_mend("write `${NAME}`, or `$${` for the two characters themselves"),
                );
            }
        }
    }
}

/// A text short enough for a message.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
