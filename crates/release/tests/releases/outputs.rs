//! What a build must leave, and what a release takes of it.

use std::{fs, os::unix::fs::symlink};

use release::{BuildError, Content, SiteIndex};
use stack::Problems;

use crate::project::{Project, source};

fn problems(project: &Project) -> Problems {
    match project.build() {
        Err(BuildError::Problems(problems)) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the build was accepted"),
    }
}

fn codes(project: &Project) -> Vec<&'static str> {
    problems(project).iter().map(|problem| problem.code).collect()
}

// proves S4.P1
#[test]
fn every_declared_output_is_there_and_not_empty() {
    let mut project = Project::new();
    let outputs = ["missing", "empty-folder", "empty-file", "good", "../outside"];
    let build = "mkdir -p empty-folder good && : > empty-file && echo x > good/x";
    project.service("api", source(".", Some(build), &outputs), "bin/server --port 1");
    project.site("web", source(".", Some("mkdir -p site && echo x > site/other.txt"), &["site"]), false);
    project.database("main", "no-migrations");
    let found = problems(&project);
    let mut codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
    codes.sort_unstable();
    let expected = [
        "migrations-folder",
        "output-empty",
        "output-empty",
        "output-missing",
        "output-outside",
        "run-missing",
        "site-index",
    ];
    assert_eq!(codes, expected);
    assert!(found.iter().all(|problem| problem.mend.is_some()));
    assert!(project.store.records(&crate::project::app()).unwrap().is_empty());
}

const MINIFIED: &str = "var a=function(b){return b+1};";

fn bundle_site(bundle: &str, text: &str, html: &str) -> Project {
    let mut project = Project::new();
    project.site("web", source(".", None, &["dist"]), true);
    project.write(&format!("dist/{bundle}"), text).write("dist/index.html", html);
    project
}

// proves S4.P12
#[test]
fn bundles_of_a_hashed_site_are_hashed_and_minified() {
    let minified = MINIFIED.repeat(60);
    let html = "<script src=/assets/app-BfX2k_aA.js></script>";
    let good = bundle_site("assets/app-BfX2k_aA.js", &minified, html);
    good.write("dist/sw.js", "self.x=1").build().unwrap();
    // Every problem at once, each with its file and mend.
    let readable = "function add(a, b) {\n    return a + b;\n}\n".repeat(50);
    let bad =
        bundle_site("assets/app.js", &readable, "<script src=/assets/app.js></script><script src=gone.js></script>");
    bad.write("dist/a/one-BfX2k_aA.css", "a{}").write("dist/b/one-BfX2k_aA.css", "b{}");
    let found = problems(&bad);
    let mut codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["bundle-minified", "bundle-name", "bundle-reference", "bundle-unique"]);
    assert!(found.iter().all(|problem| problem.mend.is_some()));
    let text = found.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("\n");
    assert!(text.contains("`assets/app.js` of site.web has no content hash in its name"), "{text}");
    // The mend speaks the bundler's language.
    bad.write("package.json", r#"{"devDependencies":{"vite":"7"}}"#);
    assert!(
        problems(&bad).iter().any(|problem| problem.mend.as_deref().is_some_and(|mend| mend.contains("build.minify")))
    );
}

// proves S4.P12
#[test]
fn a_bundle_that_changes_under_an_unchanged_name_is_refused() {
    let project = bundle_site("app-BfX2k_aA.js", "let a=1", "hello");
    project.build().unwrap();
    project.write("dist/app-BfX2k_aA.js", "let a=2");
    assert_eq!(codes(&project), ["bundle-unchanged-name"]);
}

#[test]
fn without_outputs_a_release_takes_what_a_program_needs() {
    let mut project = Project::new();
    let build = "mkdir -p node_modules/m/.bin node_modules/.cache dist data && echo 1 > node_modules/m/i.js \
                 && echo 1 > node_modules/.cache/c && echo 1 > dist/server.js && echo 1 > data/local.db; : npm ci";
    project.service("api", source(".", Some(build), &[]), "node dist/server.js --db data");
    project.write(".gitignore", "node_modules\ndist\ndata\n*.log\n.env\n").write("package.json", "{}");
    project.write("src/a.js", "1").write("x.log", "1").write(".env", "SECRET=1").write("sub/.env.production", "S=1");
    project.write(".env.example", "SECRET=").write("slipway.toml", "app = \"shop\"");
    let packed = project.build().unwrap();
    let tree = project.tree(&packed);
    assert_eq!(
        tree,
        [".env.example", ".gitignore", "dist/server.js", "node_modules/m/i.js", "package.json", "src/a.js"]
    );
    assert_eq!(project.build_counting().1, 0);
}

#[test]
fn the_program_of_a_cargo_build_is_taken_and_the_rest_of_target_is_not() {
    let mut project = Project::new();
    let build = "mkdir -p target/release/deps && cp src/main.rs target/release/api && chmod +x target/release/api \
                 && echo junk > target/release/deps/junk";
    project.service("api", source(".", Some(build), &[]), "PORT=1 target/release/api --verbose");
    project.write("Cargo.toml", "").write("src/main.rs", "fn main() {}").write(".gitignore", "/target\n");
    let packed = project.build().unwrap();
    assert_eq!(project.tree(&packed), [".gitignore", "Cargo.toml", "src/main.rs", "target/release/api"]);
    assert_eq!(project.build_counting().1, 0);
}

#[test]
fn links_that_stay_inside_are_kept_and_others_are_problems() {
    let mut project = Project::new();
    project.service("api", source("api", None, &[]), "cat a.txt");
    project.write("api/a.txt", "a").write("secret.txt", "s").write("api/sub/b.txt", "b");
    symlink("../a.txt", project.root().join("api/sub/link")).unwrap();
    let built = project.build().unwrap();
    let link = project.folder(&built).join("tree/0/sub/link");
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("../a.txt"));
    assert_eq!(fs::read_to_string(link).unwrap(), "a");
    symlink("../secret.txt", project.root().join("api/bad")).unwrap();
    symlink("/etc/passwd", project.root().join("api/worse")).unwrap();
    // Leaves through another link.
    symlink("..", project.root().join("api/sub/up")).unwrap();
    symlink("sub/up/../secret.txt", project.root().join("api/sly")).unwrap();
    std::process::Command::new("mkfifo").arg(project.root().join("api/pipe")).status().unwrap();
    assert_eq!(codes(&project), ["outside-link", "special-file", "outside-link", "outside-link"]);
}

#[test]
fn a_site_gets_its_index_and_its_variants() {
    let mut project = Project::new();
    project.site("web", source("web", Some("mkdir -p dist && cp in.html dist/index.html"), &["dist"]), false);
    let text = "<p>hello</p>\n".repeat(400);
    project.write("web/in.html", &text).write("web/dist/assets/app.3f9c2a1b.js", MINIFIED.repeat(100));
    project.write("web/dist/small.txt", "small").write("web/dist/a.png", "\u{1}".repeat(5000));
    symlink("small.txt", project.root().join("web/dist/link.txt")).unwrap();
    let built = project.build().unwrap();
    let folder = project.folder(&built);
    let read = |folder: &std::path::Path| -> SiteIndex {
        serde_json::from_slice(&fs::read(folder.join("site/web.index.json")).unwrap()).unwrap()
    };
    let index = read(&folder);
    assert_eq!(index.files.len(), 5);
    let page = &index.files["index.html"];
    assert_eq!(
        (page.size, page.content_type.as_str(), page.hashed),
        (text.len() as u64, "text/html; charset=utf-8", false)
    );
    assert_eq!(page.variants.keys().collect::<Vec<_>>(), ["br", "gzip", "zstd"]);
    for (suffix, name) in [("br", "br"), ("gz", "gzip"), ("zst", "zstd")] {
        let size = fs::metadata(folder.join(format!("site/web/index.html.{suffix}"))).unwrap().len();
        assert_eq!(size, page.variants[name]);
    }
    assert!(index.files["assets/app.3f9c2a1b.js"].hashed);
    assert!(index.files["small.txt"].variants.is_empty() && index.files["a.png"].variants.is_empty());
    assert_eq!(index.files["link.txt"].digest, index.files["small.txt"].digest);
    // What did not change keeps its time and its compressed object in the next release.
    project.write("web/in.html", "changed");
    let next = project.build().unwrap();
    let later = read(&project.folder(&next));
    assert_eq!(later.files["assets/app.3f9c2a1b.js"], index.files["assets/app.3f9c2a1b.js"]);
    let inode = |folder: &std::path::Path| {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(folder.join("site/web/assets/app.3f9c2a1b.js.br")).unwrap())
    };
    assert_eq!(inode(&folder), inode(&project.folder(&next)));
    assert!(project.manifest(&next).sites.values().flatten().all(|file| matches!(file.content, Content::File { .. })));
}

#[test]
fn migrations_are_carried() {
    let mut project = Project::new();
    project.database("main", "db/migrations").write("db/migrations/001_init.up.sql", "create table a(b)");
    project.write("db/migrations/001_init.down.sql", "drop table a").write("db/migrations/README.md", "x");
    let built = project.build().unwrap();
    let folder = project.folder(&built).join("migrations/main");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    assert_eq!(fs::read_to_string(folder.join("001_init.up.sql")).unwrap(), "create table a(b)");
}

#[test]
fn a_folder_of_pages_publishes_no_environment_files_and_nothing_hidden() {
    let mut project = Project::new();
    project.site("web", source(".", None, &["."]), false).service("api", source("api", None, &["."]), "./run");
    project
        .write("index.html", "<p>pages</p>")
        .write(".env", "TOKEN=1")
        .write("docs/.env.production", "TOKEN=2")
        .write(".npmrc", "_authToken=3")
        .write(".ssh/id", "4")
        .write(".well-known/security.txt", "Contact: x")
        .write("api/.env", "TOKEN=5")
        .write("api/.hidden", "a service reads what it likes")
        .write_executable("api/run", "#!/bin/sh");
    let built = project.build().unwrap();
    let manifest = format!("{:?}", project.manifest(&built));
    for private in [".env", ".npmrc", ".ssh"] {
        assert!(!manifest.contains(private), "{private} is in {manifest}");
    }
    assert!(manifest.contains("security.txt") && manifest.contains(".hidden"), "{manifest}");
}
