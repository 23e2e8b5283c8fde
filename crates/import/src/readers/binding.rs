//! What the value of a variable leads to: what a program `needs` is told to it by Slipway.

use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    readers::data,
    text,
};

/// The data service that a value leads to.
pub(crate) fn leads(variable: &str, value: &str, draft: &mut Draft) -> Option<String> {
    if let Some(path) = value.strip_prefix("sqlite:").filter(|path| path.contains('/')) {
        let file = path.split(['?', '#']).next()?.rsplit('/').next()?;
        let name = label(file.split('.').next()?, "main");
        draft.section("database", &name).set("engine", "sqlite");
        return Some(format!("database.{name}"));
    }
    if let Some(bucket) = draft.buckets.get(value).filter(|_| variable.ends_with("BUCKET")) {
        return Some(format!("bucket.{bucket}"));
    }
    let host = text::address(value).map_or(value, |address| address.host);
    data::find(host, draft)
}

/// What a program is told about a data service by the variables beside the one that leads to it.
pub(crate) fn given(variable: &str, reference: &str) -> bool {
    match data::kind(reference) {
        "database" => ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"].contains(&variable),
        "bucket" => {
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_S3"].contains(&variable)
        }
        _ => false,
    }
}

/// Whether `needs` of a reference gives a program a variable of this name.
pub(crate) fn tells(variable: &str, reference: &str) -> bool {
    let own = reference.split('.').nth(1).unwrap_or_default().to_ascii_uppercase().replace('-', "_");
    let (first, ending) = match data::kind(reference) {
        "database" => ("DATABASE_URL", "DATABASE_URL"),
        "cache" => ("REDIS_URL", "CACHE_URL"),
        "queue" => ("AMQP_URL", "QUEUE_URL"),
        "search" => ("OPENSEARCH_URL", "SEARCH"),
        "service" => ("", "URL"),
        _ => ("BUCKET", "BUCKET"),
    };
    variable == first || variable == format!("{own}_{ending}") || given(variable, reference)
}

/// Says what becomes of a variable whose value leads to a data service.
pub(crate) fn needed(variable: &str, value: &str, reference: &str, at: &Cursor<'_>) {
    if tells(variable, reference) {
        at.changed(&format!("`needs` {reference} gives it {variable}"));
    } else if value.contains("://") {
        at.changed(&format!(
            "`needs` {reference} gives it {}: let the program read that instead of {variable}",
            data::variable(reference)
        ));
    } else {
        at.changed(&format!("`needs` {reference} gives it {}: let the program read those", data::injected(reference)));
    }
}

/// The service of these files whose address a variable holds under the name by which `needs` gives it.
pub(crate) fn neighbour(variable: &str, value: &str, draft: &Draft) -> Option<String> {
    let host = label(text::address(value).filter(|address| address.scheme == "http")?.host, "");
    let reference = format!("service.{host}");
    (draft.has("service", &host) && tells(variable, &reference)).then_some(reference)
}

/// The variable of the contract that holds these origins; programs that are told them keep its name.
pub(crate) fn origins(list: &str, draft: &mut Draft) -> String {
    let told = draft.names("service").into_iter().find_map(|service| {
        let env = draft.section("service", &service).get("env")?.as_table()?;
        env.iter().find(|(_, value)| value.as_str() == Some(list)).map(|(name, _)| name.clone())
    });
    let name = told.unwrap_or_else(|| "ALLOWED_ORIGINS".to_owned());
    draft.variable(&name, Some(list), false);
    name
}
