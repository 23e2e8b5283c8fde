//! Terraform files as a tree.

use hcl_edit::{
    Span,
    expr::{Expression, ObjectKey},
    parser::parse_body,
    structure::{Body, Structure},
};

use crate::tree::{Node, Value, too_deep};

/// Reads the text of a `.tf` file. An expression that is no plain value is a text as it is written, `${...}` around it.
pub(crate) fn read(text: &str) -> Result<Node, String> {
    too_deep(text)?;
    // the reader calls itself for each level
    let text = text.to_owned();
    let reading = std::thread::Builder::new().stack_size(32 << 20).spawn(move || {
        let body = parse_body(&text).map_err(|error| {
            let place = error.location();
            format!("line {}: this is no Terraform: {}; mend the file", place.line(), error.message())
        })?;
        Ok(of_body(&body, &Lines::of(&text)))
    });
    let read = reading.map_err(|error| format!("cannot start to read it: {error}; try again"))?.join();
    read.unwrap_or_else(|_| Err("the reader broke down; import the file it was made from".to_owned()))
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn line(&self, span: Option<std::ops::Range<usize>>) -> usize {
        span.map_or(0, |span| self.0.partition_point(|begin| *begin <= span.start))
    }
}

fn of_body(body: &Body, lines: &Lines) -> Node {
    let mut map: Vec<(String, Node)> = Vec::new();
    for structure in body {
        match structure {
            Structure::Attribute(attribute) => {
                let mut node = of_expression(&attribute.value, lines);
                node.line = lines.line(attribute.span());
                map.push((attribute.key.to_string(), node));
            }
            Structure::Block(block) => {
                let mut node = of_body(&block.body, lines);
                node.line = lines.line(block.span());
                let labels: Vec<String> = block.labels.iter().map(|label| label.as_str().to_owned()).collect();
                let mut at = &mut map;
                let mut path = vec![block.ident.to_string()];
                path.extend(labels);
                let last = path.pop().unwrap_or_default();
                for key in path {
                    at = enter(at, key);
                }
                put(at, last, node);
            }
        }
    }
    Node::new(Value::Map(map))
}

/// The map of a key, begun when it is not there.
fn enter(map: &mut Vec<(String, Node)>, key: String) -> &mut Vec<(String, Node)> {
    let index = map.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        map.push((key, Node::new(Value::Map(Vec::new()))));
        map.len() - 1
    });
    let node = &mut map[index].1;
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::Map(map) => map,
        _ => unreachable!("it was made a map just now"),
    }
}

/// A block that stands more than once is a list.
fn put(map: &mut Vec<(String, Node)>, key: String, node: Node) {
    match map.iter_mut().find(|(known, _)| *known == key) {
        None => map.push((key, node)),
        Some((_, Node { value: Value::List(items), .. })) => items.push(node),
        Some((_, known)) => {
            let first = std::mem::replace(known, Node { line: known.line, value: Value::Null });
            known.value = Value::List(vec![first, node]);
        }
    }
}

fn of_expression(expression: &Expression, lines: &Lines) -> Node {
    let line = lines.line(expression.span());
    let value = match expression {
        Expression::Null(_) => Value::Null,
        Expression::Bool(flag) => Value::Flag(*flag.value()),
        Expression::Number(number) => Value::Number(number.value().to_string()),
        Expression::String(text) => Value::Text(text.value().clone()),
        Expression::Array(items) => Value::List(items.iter().map(|item| of_expression(item, lines)).collect()),
        Expression::Object(object) => Value::Map(
            object
                .iter()
                .map(|(key, value)| {
                    let key = match key {
                        ObjectKey::Ident(name) => name.to_string(),
                        ObjectKey::Expression(Expression::String(text)) => text.value().clone(),
                        ObjectKey::Expression(other) => other.to_string().trim().to_owned(),
                    };
                    (key.trim().to_owned(), of_expression(value.expr(), lines))
                })
                .collect(),
        ),
        Expression::StringTemplate(text) => Value::Text(text.to_string().trim().trim_matches('"').to_owned()),
        Expression::HeredocTemplate(text) => Value::Text(text.template.to_string()),
        other => Value::Text(format!("${{{}}}", other.to_string().trim())),
    };
    Node { line, value }
}
