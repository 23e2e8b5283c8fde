//! From a file's text to a stack, an environment, or everything that is wrong with it.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{EnvironmentName, Problem, Problems, Resolved, Stack, overlay, problem::MOST_PROBLEMS, read, suggest};

/// Largest stack file, in bytes.
pub const LARGEST_FILE: usize = 1 << 20;

/// Deepest nesting of tables and lists: `[environment.x.service.y]` with `size = { scale_at = { cpu = 1 } }` needs 7.
const DEEPEST: usize = 12;

/// Most mistakes of TOML itself that are listed: after a few, the rest are echoes.
const MOST_SYNTAX_ERRORS: usize = 20;

/// Everything wrong with the file: the stack itself and each of its environments, in the order of the file.
pub fn check(file_name: &str, text: &str) -> Problems {
    let mut problems = Problems::of_file(file_name, text);
    match open(text) {
        Err(found) => problems.extend(found),
        Ok(document) => {
            let (stack, base) = read_base(&document);
            // a stack with more problems than anybody reads is not read again for each environment
            let names = stack.environments.keys().take(if base.len() > MOST_PROBLEMS { 0 } else { usize::MAX });
            for name in names {
                problems.extend(read_environment(&document, name, &base).map(|(_, found)| found).unwrap_or_default());
            }
            problems.extend(base);
        }
    }
    problems.settle();
    problems
}

/// The stack without any environment's overlay.
///
/// Fails with every error of the stack itself; `check` also reads the overlays.
pub fn parse(file_name: &str, text: &str) -> Result<Stack, Problems> {
    let document = open(text).map_err(|found| settled(file_name, text, found))?;
    let (stack, problems) = read_base(&document);
    accept(file_name, text, stack, problems)
}

/// The names of the environments, sorted; `dev` when the file declares none. Empty when the text is not TOML.
pub fn environments(text: &str) -> Vec<EnvironmentName> {
    let Ok(document) = open(text) else { return Vec::new() };
    let (stack, _) = read::stack::read(&document);
    stack.environments.into_keys().collect()
}

/// The stack as one environment sees it.
///
/// Fails with every error of the stack and of this environment's overlay, or when there is no such environment.
pub fn resolve(file_name: &str, text: &str, name: &EnvironmentName) -> Result<Resolved, Problems> {
    let document = open(text).map_err(|found| settled(file_name, text, found))?;
    let (base, mut problems) = read_base(&document);
    let Some(environment) = base.environments.get(name).cloned() else {
        let key = format!("environment.{name}");
        let mend =
            read::environment::mend_unknown(name.as_str(), base.environments.keys().map(EnvironmentName::as_str));
        problems.push(
            Problem::error("unknown-environment", key, format!("there is no environment `{name}`")).with_mend(mend),
        );
        return Err(settled(file_name, text, problems));
    };
    let stack = match read_environment(&document, name, &problems) {
        None => base,
        Some((stack, found)) => {
            problems.extend(found);
            stack
        }
    };
    let stack = accept(file_name, text, stack, problems)?;
    Ok(Resolved { stack, name: name.clone(), environment })
}

/// Parses the text as TOML, with every short form written out.
fn open(text: &str) -> Result<DeTable<'_>, Vec<Problem>> {
    if text.len() > LARGEST_FILE {
        let message = format!("the file has {} bytes", text.len());
        return Err(vec![
            Problem::error("too-large", "", message)
                .with_mend(format!("a stack file has at most {LARGEST_FILE} bytes; is this the right file?")),
        ]);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().take(MOST_SYNTAX_ERRORS).map(|error| syntax(text, error)).collect());
    }
    let mut document = document.into_inner();
    let mut deep = Vec::new();
    find_too_deep(&document, 1, &mut deep);
    if !deep.is_empty() {
        let problem =
            |span: Range<usize>| Problem::error("too-deep", "", "tables are nested too deeply").with_span(span);
        return Err(deep
            .into_iter()
            .map(|span| {
                problem(span).with_mend(
                    "a stack file is at most three tables deep, as in `[environment.production.service.api]`",
                )
            })
            .collect());
    }
    overlay::expand(&mut document);
    Ok(document)
}

fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let whole: String = error.message().lines().collect::<Vec<_>>().join(", ");
    let message = whole.trim().to_lowercase();
    let mend = if message.contains("duplicate key") {
        "remove one of the two, or join their values"
    } else if message.contains("recursion") {
        "a stack file is at most three tables deep"
    } else if message.contains("string") || message.contains("quote") {
        "text stands in quotes: `key = \"value\"`"
    } else {
        "write `key = value` lines below `[table]` headers, with text in quotes"
    };
    let span = error.span().unwrap_or(0..0);
    let span = span.start.min(text.len())..span.end.min(text.len());
    Problem::error("syntax", "", message).with_span(span).with_mend(mend)
}

fn find_too_deep(table: &DeTable<'_>, depth: usize, found: &mut Vec<Range<usize>>) {
    for (_, value) in table {
        value_too_deep(value, depth, found);
    }
}

fn value_too_deep(value: &Spanned<DeValue<'_>>, depth: usize, found: &mut Vec<Range<usize>>) {
    let nested = value.get_ref().is_table() || value.get_ref().is_array();
    if nested && depth > DEEPEST {
        found.push(value.span());
        return;
    }
    match value.get_ref() {
        DeValue::Table(table) => find_too_deep(table, depth + 1, found),
        DeValue::Array(list) => list.iter().for_each(|item| value_too_deep(item, depth + 1, found)),
        _ => {}
    }
}

fn read_base(document: &DeTable<'_>) -> (Stack, Vec<Problem>) {
    let (stack, mut problems) = read::stack::read(document);
    problems.extend(read::secret::search(document));
    (stack, problems)
}

/// The stack under an environment's overlay, with the problems that the stack itself has not; `None` without overlay.
fn read_environment(document: &DeTable<'_>, name: &EnvironmentName, base: &[Problem]) -> Option<(Stack, Vec<Problem>)> {
    let (merged, mut problems) = overlay::apply(document, name.as_str())?;
    let (stack, found) = read::stack::read(&merged);
    let known: std::collections::HashSet<_> =
        base.iter().map(|p| (p.code, p.span.clone(), p.message.as_str())).collect();
    for mut problem in found {
        if known.contains(&(problem.code, problem.span.clone(), problem.message.as_str())) {
            continue;
        }
        if problem.code == "missing-key" {
            problem.mend = mend_of_misnamed(document, name, &problem.key).or(problem.mend);
        }
        problem.message = format!("in environment `{name}`: {}", problem.message);
        problem.key = format!("environment.{name}.{}", problem.key);
        problems.push(problem);
    }
    Some((stack, problems))
}

/// Where an overlay of a resource that does not exist was most likely meant for another.
fn mend_of_misnamed(document: &DeTable<'_>, environment: &EnvironmentName, key: &str) -> Option<String> {
    let (kind, name) = key.split_once('.')?;
    let base = document.get(kind)?.get_ref().as_table()?;
    let near = suggest(name, base.keys().map(|name| name.get_ref().as_ref()).take(500)).filter(|near| *near != name)?;
    (!base.contains_key(name)).then(|| format!("did you mean `[environment.{environment}.{kind}.{near}]`?"))
}

fn accept(file_name: &str, text: &str, stack: Stack, problems: Vec<Problem>) -> Result<Stack, Problems> {
    let problems = settled(file_name, text, problems);
    if problems.has_errors() { Err(problems) } else { Ok(stack) }
}

fn settled(file_name: &str, text: &str, found: Vec<Problem>) -> Problems {
    let mut problems = Problems::of_file(file_name, text);
    problems.extend(found);
    problems.settle();
    problems
}
