//! GitHub workflows: what a deploy does by itself is named, and so are known mistakes in the steps.

use super::script;
use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{Draft, label},
    report::{Entry, Fate},
    trap::Trap,
    tree,
};

/// Reads a workflow.
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    for tree in tree::yaml(&file.text)? {
        let marks = Marks::default();
        let at = Cursor::root(&tree, &marks);
        let tagged = ["on", "true"].iter().any(|on| at.find_below(&[on, "push", "tags"]).is_some());
        at.changed("`slipway render ci` writes workflows that deploy this stack");
        for (key, at) in at.entries() {
            match key {
                "on" | "true" => at.changed("`slipway render ci`: a branch deploys staging, a tag deploys production"),
                "env" => {
                    for (name, at) in at.entries() {
                        at.changed(&format!(
                            "{name} is only for the workflow; what programs read is a variable of the contract"
                        ));
                    }
                }
                "jobs" => jobs(&at, tagged, draft),
                _ => {}
            }
        }
        found.extend(entries(&file.name, &at, ""));
    }
    Ok(found)
}

/// The environment that a job deploys to. Where it runs is the workflow's own secret.
fn environment(job: &Cursor<'_>, tagged: bool, draft: &mut Draft) {
    let Some(at) = job.find("environment") else { return };
    let name = at.text().or_else(|| at.find("name")?.text()).unwrap_or_default();
    let known = label(&name, "");
    if known.is_empty() || name.contains("${{") {
        return;
    }
    let count = draft.names("environment").len();
    let section = draft.section("environment", &known);
    if section.get("target").is_none() {
        section.set("target", "local").set_with(
            "listen",
            format!("127.0.0.1:{}", 8081 + count),
            "say where it runs: target = \"hosts\", \"kubernetes\" or \"aws\"",
        );
    }
    if tagged || name.contains("prod") {
        section.set_with("approve", true, "the workflow asked for it");
        at.changed("`approve` of the environment");
    } else {
        at.changed("[environment]");
    }
}

/// Variables that a step which deploys is given: they are the contract's.
fn contract(step: &Cursor<'_>, draft: &mut Draft) {
    let deploys = step.find("run").and_then(|run| run.text()).is_some_and(|run| run.contains("slipway deploy"));
    for (name, at) in step.find("env").filter(|_| deploys).map(|env| env.entries()).unwrap_or_default() {
        let value = at.text().unwrap_or_default();
        let from = value.trim_start_matches("${{").trim();
        if from.starts_with("secrets.") || from.starts_with("vars.") {
            draft.variable(name, None, from.starts_with("secrets."));
            at.kept_as("a variable of the contract");
        }
    }
}

fn jobs(at: &Cursor<'_>, tagged: bool, draft: &mut Draft) {
    for (_, job) in at.entries() {
        environment(&job, tagged, draft);
        let mut rolled_out = false;
        for step in job.find("steps").map(|steps| steps.items()).unwrap_or_default() {
            contract(&step, draft);
            if let Some(run) = step.find("run") {
                steps(&run, &mut rolled_out);
            }
            if let Some(uses) = step.find("uses").and_then(|uses| uses.text().map(|text| (uses, text))) {
                let (at, action) = uses;
                if action.starts_with("aws-actions/configure-aws-credentials")
                    && step.find("with").is_some_and(|with| with.find("aws-secret-access-key").is_some())
                {
                    at.changed("`slipway render ci` signs in by OpenID Connect: no long-lived keys");
                }
            }
        }
    }
}

/// The lines of one step. Only one thing can be said of a step: the first mistake in it, or else what takes its place.
fn steps(run: &Cursor<'_>, rolled_out: &mut bool) {
    let text = run.text().unwrap_or_default();
    let mut mistakes = Vec::new();
    let mut by = None;
    for line in text.lines() {
        *rolled_out |= line.contains("kubectl set image") || line.contains("kubectl rollout") || line.contains("up -d");
        if *rolled_out && line.contains("migrate") {
            mistakes.push((
                Trap::LATE_MIGRATION,
                "migrations run before the new release: `slipway deploy` does it in this order",
            ));
        }
        mistakes.extend(script::mistake(line));
        by = by.or_else(|| script::replaced(line));
    }
    match (mistakes.first(), by) {
        (Some((trap, right)), _) => {
            let others: Vec<&str> =
                mistakes[1..].iter().map(|(_, right)| *right).filter(|other| other != right).collect();
            let reason =
                if others.is_empty() { (*right).to_owned() } else { format!("{right}; {}", others.join("; ")) };
            run.trapped(*trap, Fate::Changed, &reason);
        }
        (None, Some(by)) => run.changed(by),
        (None, None) => run.refused(
            "a step is not run and not read into a stack; keep it in the workflow that `slipway render ci` writes",
        ),
    }
}
