//! Distributions: what stands in front and caches.

use toml::Value;

use super::{keep, plain, resource::All};
use crate::{cursor::Cursor, draft::Draft, report::Fate, trap::Trap};

pub(crate) fn distribution(own: &str, at: &Cursor<'_>, all: &All, draft: &mut Draft) {
    let names: Vec<String> =
        at.find("aliases").map(|at| at.items()).unwrap_or_default().iter().filter_map(Cursor::text).collect();
    let section = draft.section("cdn", own);
    section.set("names", Value::Array(names.iter().cloned().map(Value::from).collect())).set("https_only", true);
    if let Some(class) = plain(at, "price_class") {
        let class = match class.as_str() {
            "PriceClass_100" => "us-europe",
            "PriceClass_200" => "most",
            _ => "all",
        };
        section.set("price_class", class);
        keep(at, &["price_class"], "`price_class`");
    }
    at.changed("[cdn]: what it caches as `to`");
    if let Some(aliases) = at.find("aliases") {
        let known = |name: &String| all.records.iter().any(|record| record == name || record.contains("${"));
        let missing: Vec<&String> = names.iter().filter(|name| !known(name)).collect();
        if all.dns && !missing.is_empty() {
            let list = missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            aliases.trapped(
                Trap::MISSING_NAME,
                Fate::Kept,
                &format!("no record leads to {list}; add them to `records` of [dns.main]"),
            );
        } else {
            aliases.kept_as("`names`");
        }
    }
}
