//! The stacks beside this file, resolved.

use render::{Input, Options};
use stack::{EnvironmentName, Resolved};

/// Every environment of a stack.
pub(crate) fn all(stack: &str) -> Vec<Resolved> {
    let path = format!("{}/tests/stacks/{stack}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a stack");
    let names = stack::environments(&text);
    names.iter().map(|name| stack::resolve("slipway.toml", &text, name).unwrap_or_else(|p| panic!("{p}"))).collect()
}

/// One environment, as the tests render it.
pub(crate) fn input(stack: &str, environment: &str) -> Input {
    let all = all(stack);
    let name = EnvironmentName::new(environment).expect("a name");
    let resolved = all.iter().find(|resolved| resolved.name == name).expect("the environment").clone();
    Input { resolved, all, options: Options { leave_out: true, tag: Some("3f9c2a1".to_owned()), ..Options::default() } }
}
