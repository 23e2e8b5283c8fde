//! First files for folders as people have them: each must be accepted and say what is there.

use std::{fs, path::Path};

use proptest::prelude::*;
use stack::{EnvironmentName, Source, Stack};

/// Writes files into a folder called `name` and sketches it.
fn sketch(name: &str, files: &[(&str, &str)]) -> (String, Stack) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path().join(name);
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }
    fs::create_dir_all(&folder).expect("writable");
    let text = stack::sketch(&folder).expect("readable");
    let problems = stack::check("slipway.toml", &text);
    assert!(problems.is_empty(), "{problems}\n{text}");
    for environment in ["dev", "production"] {
        let environment = EnvironmentName::new(environment).expect("well formed");
        stack::resolve("slipway.toml", &text, &environment).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    }
    let stack = stack::parse("slipway.toml", &text).expect("no problems");
    (text, stack)
}

#[test]
fn an_empty_folder_gets_a_file_to_fill_in() {
    let (text, stack) = sketch("My Shop (2)", &[]);
    assert_eq!(stack.app.as_str(), "my-shop-2");
    assert!(stack.services.is_empty() && text.contains("# [service.web]"));
}

#[test]
fn an_express_server_is_a_service() {
    let package = r#"{"scripts":{"start":"node server.js"},"dependencies":{"express":"5","better-sqlite3":"11"}}"#;
    let (_, stack) =
        sketch("api", &[("package.json", package), ("package-lock.json", ""), ("migrations/001_a.up.sql", "")]);
    let service = &stack.services["api"];
    let Source::Folder(source) = &service.source else { panic!("no folder") };
    assert_eq!((source.build.as_deref(), service.run.as_deref()), (Some("npm ci"), Some("npm start")));
    assert_eq!(stack.databases["main"].engine, stack::DatabaseEngine::Sqlite);
    assert_eq!(service.needs.len(), 1);
}

#[test]
fn a_monorepo_has_a_part_for_each_folder() {
    let vite = r#"{"scripts":{"build":"vite build"},"dependencies":{"react":"19"},"devDependencies":{"vite":"7"}}"#;
    let (text, stack) = sketch(
        "shop",
        &[
            ("frontend/package.json", vite),
            ("backend/requirements.txt", "fastapi\nuvicorn\npsycopg\n"),
            ("backend/main.py", ""),
            ("backend/migrations/001_a.up.sql", ""),
            ("services/worker/go.mod", "module worker"),
            ("services/images/Dockerfile", "FROM scratch"),
            ("docs/index.html", ""),
            ("node_modules/x/package.json", vite),
        ],
    );
    insta::assert_snapshot!(text);
    assert_eq!(stack.services.len(), 3);
    assert_eq!(stack.sites.len(), 1);
    assert_eq!(stack.routes[0].paths.len(), 2);
}

#[test]
fn every_known_manifest_is_recognised() {
    type Files = &'static [(&'static str, &'static str)];
    let cases: [(&str, Files, &str); 10] = [
        (
            "next",
            &[("package.json", r#"{"scripts":{"build":"next build"},"dependencies":{"next":"16","react":"19"}}"#)],
            "next start",
        ),
        (
            "rust",
            &[("Cargo.toml", "[package]\nname = \"fast\"\n"), ("src/main.rs", "")],
            "run = \"target/release/fast\"",
        ),
        ("flask", &[("requirements.txt", "Flask==3"), ("app.py", "")], "flask --app app"),
        ("django", &[("requirements.txt", "django\ngunicorn"), ("site1/wsgi.py", "")], "gunicorn site1.wsgi"),
        ("rails", &[("Gemfile", "gem 'rails'")], "rails server"),
        ("proc", &[("Procfile", "web: ./serve --port $PORT\nworker: ./work\n")], "run = \"./serve --port $PORT\""),
        ("plain", &[("index.html", "<p>hello")], "out = \".\""),
        ("docker", &[("Dockerfile", "FROM scratch")], "dockerfile = \"Dockerfile\""),
        ("quotes", &[("Procfile", "web: sh -c \"echo '${X} \\\\ \"")], "run = "),
        ("broken", &[("package.json", "{"), ("Cargo.toml", "["), ("go.mod", "module x")], "go build"),
    ];
    for (name, files, expected) in cases {
        let (text, _) = sketch(name, files);
        assert!(text.contains(expected), "{name} has no `{expected}`:\n{text}");
    }
}

#[test]
fn a_crate_of_a_workspace_is_built_into_its_own_folder() {
    let member = [
        ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n"),
        ("crates/serve/Cargo.toml", "[package]\nname = \"serve\"\n"),
        ("crates/serve/src/main.rs", ""),
    ];
    let (text, stack) = sketch("ws", &member);
    assert!(text.contains("--target-dir target") && stack.services.contains_key("serve"), "{text}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let refused = stack::sketch(Path::new("/no/such/folder")).expect_err("not there");
    assert!(refused.to_string().contains("/no/such/folder"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_folder_gets_a_file_that_is_accepted(
        name in "[a-zA-Z0-9 ._éß-]{1,60}",
        child in "[a-zA-Z0-9._-]{1,60}",
        script in "[ -~]{0,40}",
        procfile in "[ -~\\n]{0,60}",
    ) {
        prop_assume!(name != "." && name != ".." && child != "." && child != "..");
        let package = serde_json::json!({ "scripts": { "start": script }, "main": script, "dependencies": { "express": "1" } }).to_string();
        sketch(&name, &[(&format!("{child}/package.json"), package.as_str()), ("zz/Procfile", procfile.as_str())]);
    }
}
