//! Functions of the provider.

use super::{keep, many, plain, referred};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    report::Fate,
    text,
    trap::Trap,
};

pub(crate) fn read(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let section = draft.section("function", own);
    section.about("say which program it runs, and on which event or schedule");
    section.set("run", "./function").set("dir", ".").set("schedule", "@daily");
    if let Some(memory) = plain(at, "memory_size") {
        section.put("size", "memory", format!("{memory}Mi"));
        keep(at, &["memory_size"], "`size.memory`");
    }
    if let Some(timeout) = plain(at, "timeout").and_then(|text| text::duration(&text)) {
        section.set("timeout", timeout);
        keep(at, &["timeout"], "`timeout`");
    }
    for environment in many(at, "environment") {
        for (variable, at) in environment.find("variables").map(|all| all.entries()).unwrap_or_default() {
            let value = at.text().unwrap_or_default();
            if value.contains("aws_secretsmanager_secret")
                && (value.contains(".name}") || value.split('.').next_back() == Some("name"))
            {
                draft.variable(variable, None, true);
                draft.section("function", own).put("env", variable, format!("${{{variable}}}"));
                at.trapped(
                    Trap::SECRET_NAME,
                    Fate::Changed,
                    "a secret of the contract: the program is given the value",
                );
            } else if value.contains("aws_db_instance") || value.contains("aws_rds_cluster") {
                if let Some(first) = draft.names("database").first().cloned() {
                    draft.section("function", own).add("needs", &format!("database.{first}"));
                }
                at.changed("`needs` of the database");
            } else if let Some(bucket) = referred(&value, "aws_s3_bucket") {
                draft.section("function", own).add("needs", &format!("bucket.{}", label(&bucket, "main")));
                draft.section("bucket", &label(&bucket, "main"));
                at.changed("`needs` of the bucket");
            } else if value.contains("${") || text::is_secret_name(variable) {
                draft.variable(variable, None, text::is_secret_name(variable));
                draft.section("function", own).put("env", variable, format!("${{{variable}}}"));
                at.changed("a variable of the contract");
            } else {
                draft.section("function", own).put("env", variable, value);
                at.kept_as("`env`");
            }
        }
    }
    for key in [
        "function_name",
        "role",
        "handler",
        "runtime",
        "filename",
        "source_code_hash",
        "s3_bucket",
        "s3_key",
        "publish",
        "architectures",
        "layers",
        "package_type",
        "image_uri",
        "tags",
        "vpc_config",
    ] {
        if let Some(at) = at.find(key) {
            at.changed("`slipway render terraform` writes it; `run` says what it does");
        }
    }
}
