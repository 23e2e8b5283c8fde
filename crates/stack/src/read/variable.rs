//! `[variable]`: the environment contract.

use super::section::{Entry, Section, shortened};
use crate::{Variable, VariableForm, template::is_variable_name};

const FORMS: [(&str, VariableForm); 9] = [
    ("text", VariableForm::Text),
    ("url", VariableForm::Url),
    ("url-list", VariableForm::UrlList),
    ("integer", VariableForm::Integer),
    ("port", VariableForm::Port),
    ("boolean", VariableForm::Boolean),
    ("email", VariableForm::Email),
    ("duration", VariableForm::Duration),
    ("host", VariableForm::Host),
];

/// Reads one variable; `None` when its name is wrong.
pub(crate) fn read(entry: &Entry<'_>) -> Option<(String, Variable)> {
    let name = entry.path.last();
    if !is_variable_name(name) {
        let message = format!("`{}` cannot be a variable", shortened(name).escape_debug());
        let upper: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let mend = if is_variable_name(&upper) {
            format!("write `{upper}`")
        } else {
            "use capitals, digits and `_`, not starting with a digit".to_owned()
        };
        entry.notes.add(entry.key_problem("bad-variable-name", message).with_mend(mend));
    }
    let section = entry.section()?;
    let variable = read_table(&section, name);
    section.finish(&[
        ("required", "optional"),
        ("form", "type"),
        ("values", "one_of"),
        ("enum", "one_of"),
        ("description", "about"),
        ("value", "default"),
        ("min", "min_length"),
        ("max", "max_length"),
    ]);
    is_variable_name(name).then(|| (name.to_owned(), variable))
}

fn read_table(section: &Section<'_>, name: &str) -> Variable {
    let secret = section.flag("secret", false);
    let form = section.choice("type", &FORMS);
    let one_of: Vec<String> =
        section.texts("one_of").iter().filter_map(|item| item.scalar().map(std::borrow::Cow::into_owned)).collect();
    if let Some(entry) = section.find("one_of") {
        if section.has("type") {
            let message = format!("{} has both `type` and `one_of`", section.path.place());
            section.notes.add(entry.key_problem("conflicting-keys", message).with_mend("keep one of them"));
        } else if one_of.is_empty() {
            let message = format!("{} lists nothing", entry.path.place());
            section.notes.add(entry.problem("empty-value", message).with_mend("list the values that are allowed"));
        }
    }
    let form = if section.has("one_of") { VariableForm::OneOf(one_of) } else { form.unwrap_or(VariableForm::Text) };
    let variable = Variable {
        secret,
        form,
        default: section.find("default").and_then(|entry| entry.scalar().map(std::borrow::Cow::into_owned)),
        optional: section.flag("optional", false),
        min_length: section.whole("min_length", 0..=1_000_000),
        max_length: section.whole("max_length", 1..=1_000_000),
        rotate: section.parse("rotate"),
        about: section.text("about"),
    };
    if let Some(entry) = section
        .find("max_length")
        .filter(|_| variable.min_length > variable.max_length && variable.max_length.is_some())
    {
        let message = format!("{}: the longest allowed length is below the shortest", section.path.place());
        section.notes.add(entry.problem("bad-range", message).with_mend("make `max_length` at least `min_length`"));
    }
    check_default(section, name, &variable);
    variable
}

fn check_default(section: &Section<'_>, name: &str, variable: &Variable) {
    let (Some(value), Some(entry)) = (&variable.default, section.find("default")) else { return };
    if variable.secret {
        let message = format!("the secret variable `{name}` has a default in plain text");
        let mend = format!(
            "remove `default`, set {name} in `.env.<environment>` or in the environment of the command, and change the secret: it has been seen"
        );
        section.notes.add(entry.problem("plain-secret", message).with_mend(mend));
        return;
    }
    super::secret::check_named(&entry, name, value);
    if let Some(expected) = variable.mismatch(value) {
        let message = format!("the default of variable `{name}` is `{}`", shortened(value).escape_debug());
        section.notes.add(entry.problem("bad-default", message).with_mend(format!("write {expected}")));
    }
}
