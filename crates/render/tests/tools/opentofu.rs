//! The language that Terraform and OpenTofu share: what only one of them has must not be rendered.
//!
//! No package that machines of tests can have carries OpenTofu's program, so the files are held to what both document
//! since 1.10: kinds of blocks, functions, and no functions of providers.

use std::{collections::BTreeSet, path::PathBuf};

use hcl_edit::{
    expr::FuncCall,
    parser::parse_body,
    structure::Block,
    visit::{self, Visit},
};

/// Blocks at the top of a file.
const BLOCKS: [&str; 8] = ["data", "locals", "module", "output", "provider", "resource", "terraform", "variable"];

/// Functions that are used, each of both.
const FUNCTIONS: [&str; 17] = [
    "compact",
    "concat",
    "element",
    "file",
    "fileset",
    "jsonencode",
    "length",
    "merge",
    "regex",
    "sha1",
    "slice",
    "substr",
    "toset",
    "tostring",
    "trimprefix",
    "trimsuffix",
    "try",
];

/// Types are written as if they were calls.
const TYPES: [&str; 3] = ["list", "map", "object"];

/// Meta-arguments of `lifecycle`; OpenTofu 1.11 alone has `enabled`, Terraform alone `action_trigger`.
const LIFECYCLE: [&str; 2] = ["create_before_destroy", "ignore_changes"];

/// Words of these files that only one of the two knows.
pub(crate) fn check(files: &[PathBuf]) -> BTreeSet<String> {
    let mut found = Found { wrong: BTreeSet::new() };
    for path in files {
        let body = parse_body(&std::fs::read_to_string(path).expect("a text")).expect("HCL");
        for block in body.blocks().filter(|block| !BLOCKS.contains(&block.ident.as_str())) {
            found.wrong.insert(format!("block {}", block.ident.as_str()));
        }
        found.visit_body(&body);
    }
    found.wrong
}

struct Found {
    wrong: BTreeSet<String>,
}

impl Visit for Found {
    fn visit_func_call(&mut self, call: &FuncCall) {
        let name = call.name.name.as_str();
        if !call.name.namespace.is_empty() || !(FUNCTIONS.contains(&name) || TYPES.contains(&name)) {
            self.wrong.insert(format!("function {name}"));
        }
        visit::visit_func_call(self, call);
    }

    fn visit_block(&mut self, block: &Block) {
        // one of a bucket or a backup has other words, below its resource's own
        let meta = block.ident.as_str() == "lifecycle" && block.body.get_attribute("delete_after").is_none();
        for one in block.body.attributes().filter(|one| meta && !LIFECYCLE.contains(&one.key.as_str())) {
            self.wrong.insert(format!("lifecycle {}", one.key.as_str()));
        }
        visit::visit_block(self, block);
    }
}
