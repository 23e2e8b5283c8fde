//! The variables of a program, the same on every target: what it needs, the contract's values, what it asks for itself.
//!
//! The names are those the agent gives (`docs/src/reference/stack-file.md`, `needs`), so a program moves between targets
//! unchanged. What differs per target is only where an address or a secret comes from: [`Addresses`].

use stack::{Kind, ResourceRef, Stack, Variable};

use crate::program::{Program, capitals};

/// A piece of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it is.
    Text(String),
    /// The value of a variable that comes from outside: a secret, or one without a default.
    Outside(String),
}

/// A whole value.
pub(crate) type Value = Vec<Part>;

/// A value without anything from outside.
pub(crate) fn text(text: impl Into<String>) -> Value {
    vec![Part::Text(text.into())]
}

/// Where the things a program needs are on a target.
pub(crate) trait Addresses {
    /// The address of a database, cache, queue, bucket or service; `None` when the target has none.
    fn address(&self, need: &ResourceRef) -> Option<Value>;

    /// The parts of a PostgreSQL address, for libpq: host, port, database, user, password.
    fn postgres(&self, need: &ResourceRef) -> Option<[Value; 5]>;
}

/// The variables of a program, by name.
pub(crate) fn of(stack: &Stack, program: &Program<'_>, addresses: &impl Addresses) -> Vec<(String, Value)> {
    let mut env: Vec<(String, Value)> = Vec::new();
    for need in program.needs() {
        bind(stack, need, addresses, &mut env);
    }
    for (name, variable) in &stack.variables {
        if let Some(value) = of_variable(name, variable) {
            set(&mut env, name.clone(), value);
        }
    }
    for (name, template) in program.env() {
        set(&mut env, name.to_owned(), expand(stack, template));
    }
    set(&mut env, "SLIPWAY_APP".to_owned(), text(stack.app.as_str()));
    if let Some((_, service)) = program.host.filter(|_| program.kind == Kind::Service)
        && let Some(port) = service.port
    {
        set(&mut env, "HOST".to_owned(), text("0.0.0.0"));
        set(&mut env, "PORT".to_owned(), text(port.to_string()));
    }
    env.sort_by(|a, b| a.0.cmp(&b.0));
    env
}

fn set(env: &mut Vec<(String, Value)>, name: String, value: Value) {
    env.retain(|(known, _)| *known != name);
    env.push((name, value));
}

fn bind(stack: &Stack, need: &ResourceRef, addresses: &impl Addresses, env: &mut Vec<(String, Value)>) {
    let Some(address) = addresses.address(need) else { return };
    let name = capitals(need.name.as_str());
    let (first, own) = match need.kind {
        Kind::Database => {
            if !env.iter().any(|(known, _)| known == "DATABASE_URL")
                && let Some(parts) = addresses.postgres(need)
            {
                let names = ["PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"];
                env.extend(names.map(str::to_owned).into_iter().zip(parts));
            }
            (Some("DATABASE_URL"), format!("{name}_DATABASE_URL"))
        }
        Kind::Cache => (Some("REDIS_URL"), format!("{name}_CACHE_URL")),
        Kind::Queue => (Some("AMQP_URL"), format!("{name}_QUEUE_URL")),
        Kind::Bucket => (Some("BUCKET"), format!("{name}_BUCKET")),
        Kind::Service => (None, format!("{name}_URL")),
        kind => (None, format!("{name}_{}", capitals(kind.as_str()))),
    };
    if let Some(first) = first
        && !env.iter().any(|(known, _)| known == first)
    {
        env.push((first.to_owned(), address.clone()));
    }
    // a variable of the contract with the same name says it better, as FILES_BUCKET of S0.16
    if !stack.variables.contains_key(&own) {
        set(env, own, address);
    }
}

/// The value of a variable of the contract: its default, or from outside. `None` when it may be absent.
pub(crate) fn of_variable(name: &str, variable: &Variable) -> Option<Value> {
    match &variable.default {
        Some(default) => Some(text(default.as_str())),
        None if variable.optional && !variable.secret => None,
        None => Some(vec![Part::Outside(name.to_owned())]),
    }
}

/// A text with `${NAME}` filled in where the value is known.
pub(crate) fn expand(stack: &Stack, template: &str) -> Value {
    // a mark no file may contain separates the names that stay open
    const OPEN: char = '\u{1}';
    let filled = stack::template::expand(template, |name| {
        let default = stack.variables.get(name).and_then(|variable| variable.default.clone());
        Some(default.unwrap_or_else(|| format!("{OPEN}{name}{OPEN}")))
    });
    let filled = filled.unwrap_or_else(|_| template.to_owned());
    let parts = filled.split(OPEN).enumerate().filter(|(at, part)| at % 2 == 1 || !part.is_empty());
    let value: Value = parts
        .map(|(at, part)| if at % 2 == 1 { Part::Outside(part.to_owned()) } else { Part::Text(part.to_owned()) })
        .collect();
    if value.is_empty() { text("") } else { value }
}

/// Names of the variables that come from outside, sorted, each once.
pub(crate) fn outside<'v>(values: impl IntoIterator<Item = &'v Value>) -> Vec<String> {
    let names = values.into_iter().flatten().filter_map(|part| match part {
        Part::Outside(name) => Some(name.clone()),
        Part::Text(_) => None,
    });
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}
