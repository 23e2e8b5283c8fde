//! Buckets and tables.

use super::{days, keep, many, plain, referred, resource::All};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
};

pub(crate) fn lifecycle(at: &Cursor<'_>, draft: &mut Draft) {
    let Some(bucket) = at.find("bucket").and_then(|at| referred(&at.text()?, "aws_s3_bucket")) else { return };
    let bucket = label(&bucket, "main");
    at.changed("`archive_after` and `delete_after` of the bucket");
    for rule in many(at, "rule") {
        for (block, key) in [("transition", "archive_after"), ("expiration", "delete_after")] {
            for block in many(&rule, block) {
                if let Some(days) = plain(&block, "days").and_then(|text| days(&text)) {
                    draft.section("bucket", &bucket).set(key, days);
                    block.kept_as(key);
                }
            }
        }
    }
}

pub(crate) fn table(own: &str, at: &Cursor<'_>, all: &All, draft: &mut Draft) {
    // a table that nothing else names is left over
    let name = at.path.rsplit('.').next().unwrap_or_default();
    let address = format!("aws_dynamodb_table.{name}");
    let used = all.texts.iter().any(|(other, text)| *other != address && text.contains(&address));
    if !used {
        return at.refused(
            "nothing in these files uses this table; remove it and its permissions, or write [table] if a program does",
        );
    }
    let section = draft.section("table", own);
    for (from, to) in [("name", "name"), ("hash_key", "key"), ("range_key", "sort")] {
        if let Some(value) = plain(at, from) {
            section.set(to, value);
            keep(at, &[from], to);
        }
    }
    if section.get("key").is_none() {
        section.set("key", "id");
    }
    section.set("on_demand", plain(at, "billing_mode").as_deref() == Some("PAY_PER_REQUEST"));
    at.kept_as("[table]");
}
