//! Two hundred compose files of the kinds people write: every key of every one is kept, changed or refused with a reason,
//! and what is written is a stack file that `check` reads.

#[path = "compose/corpus.rs"]
mod corpus;

use std::collections::BTreeSet;

use corpus::{APPLICATIONS, WAYS, compose};
use import::{Fate, import};

#[test]
fn every_key_of_two_hundred_files_is_kept_changed_or_refused() {
    let mut files = BTreeSet::new();
    let (mut keys, mut whole) = (0, 0);
    let mut lacking = BTreeSet::new();
    for application in 0..APPLICATIONS.len() {
        for way in 0..WAYS {
            let text = compose(application, way);
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("compose.yaml"), &text).unwrap();
            let imported = import(folder.path()).unwrap_or_else(|error| panic!("{error}\n{text}"));
            // a leaf is a line that ends in a value, so there are at least as many entries as such lines
            let own: Vec<_> = imported.report.entries.iter().filter(|entry| entry.file == "compose.yaml").collect();
            let lines: BTreeSet<usize> = own.iter().filter_map(|entry| entry.line).collect();
            let leaves = text
                .lines()
                .filter(|line| line.trim_start().starts_with("- ") && !line.trim_end().ends_with(':'))
                .count();
            assert!(own.len() >= leaves && !lines.is_empty(), "{} entries for {leaves} items\n{text}", own.len());
            for entry in &own {
                assert!(entry.fate == Fate::Kept || !entry.reason.is_empty(), "{entry:?} has no reason\n{text}");
                let known = !entry.reason.contains("not a key of the Compose specification");
                assert!(known || entry.key.ends_with("unknown_key"), "{entry:?} is a key of the specification\n{text}");
            }
            // the written file is read by `check`; what it lacks is in the report
            let left = stack::check("slipway.toml", &imported.stack).iter().count();
            let told = imported.report.entries.iter().filter(|entry| entry.file == "slipway.toml").count();
            assert_eq!(left, told, "{}", imported.stack);
            whole += usize::from(left == 0);
            lacking.extend(stack::check("slipway.toml", &imported.stack).iter().map(|problem| problem.message.clone()));
            keys += own.len();
            assert!(!imported.stack.contains("changeme12345"), "{}", imported.stack);
            files.insert(text);
        }
    }
    assert_eq!(files.len(), 200, "they differ");
    assert!(keys > 4_000, "{keys} keys");
    assert!(whole >= 190, "only {whole} of 200 written files need no hand: {lacking:#?}");
}
