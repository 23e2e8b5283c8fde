//! Is what was built what the stack declares? (S4.P1, S4.P12)

use std::{
    collections::{BTreeMap, HashMap},
    fs,
};

use stack::{Problem, Problems};

use crate::{BuildError, Compiled, Content, build::SiteFiles, bundle, hashed, scan::Found};

/// Looks at everything that was built: declared outputs are there and not empty, programs that `run` names are carried,
/// links stay inside, a site has its `index.html`, a hashed site's bundles are hashed and minified.
///
/// Fails with `Problems` that holds every problem at once.
pub fn verify(compiled: &Compiled) -> Result<(), BuildError> {
    let mut problems = Problems::new();
    problems.extend(compiled.problems.iter().cloned());
    for site in &compiled.sites {
        check_site(site, compiled, &mut problems)?;
    }
    if problems.is_empty() { Ok(()) } else { Err(BuildError::Problems(problems)) }
}

fn check_site(site: &SiteFiles, compiled: &Compiled, problems: &mut Problems) -> Result<(), BuildError> {
    let label = format!("site.{}", site.name);
    if !site.files.iter().any(|file| file.entry.path == "index.html") {
        let place = site.source.out.first().map_or(site.source.dir.as_str(), String::as_str);
        let message = format!("{label} has no `index.html` in `{place}`");
        let mend = "make the build write one, or correct `out`";
        problems.push(Problem::error("site-index", label.as_str(), message).with_mend(mend));
    }
    if site.hashed {
        let previous = compiled.previous.as_ref().and_then(|manifest| manifest.sites.get(&site.name));
        let older: HashMap<&str, &Content> =
            previous.into_iter().flatten().map(|entry| (entry.path.as_str(), &entry.content)).collect();
        Bundles { site, label, older, mend: Mend::of(site, compiled) }.check(problems)?;
    }
    Ok(())
}

/// A site that promises hashed bundles.
struct Bundles<'a> {
    site: &'a SiteFiles,
    label: String,
    /// Files of the release before.
    older: HashMap<&'a str, &'a Content>,
    mend: Mend,
}

impl Bundles<'_> {
    fn check(&self, problems: &mut Problems) -> Result<(), BuildError> {
        let mut names: BTreeMap<&str, &Found> = BTreeMap::new();
        for file in self.site.files.iter().filter(|file| bundle::is_bundle(&file.entry.path)) {
            let path = file.entry.path.as_str();
            let fixed = bundle::has_fixed_name(path);
            if !fixed && !hashed::may_be(path) {
                let message = format!("`{path}` of {} has no content hash in its name", self.label);
                self.push(problems, "bundle-name", message, self.mend.name);
            } else if !fixed {
                self.check_unique(file, &mut names, problems);
            }
            let text = fs::read(&file.from).map_err(BuildError::io("read", &file.from))?;
            if let Some(reason) = bundle::not_minified(&text) {
                let message = format!("`{path}` of {} is not minified: {reason}", self.label);
                self.push(problems, "bundle-minified", message, self.mend.minify);
            }
        }
        self.check_pages(problems)
    }

    /// Equal names must mean equal content, here and in the release before: browsers keep what they have for a year.
    fn check_unique<'f>(&self, file: &'f Found, names: &mut BTreeMap<&'f str, &'f Found>, problems: &mut Problems) {
        let path = file.entry.path.as_str();
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some(other) = names.insert(name, file)
            && other.entry.content != file.entry.content
        {
            let other = &other.entry.path;
            let message = format!("`{path}` and `{other}` of {} have one name and different content", self.label);
            self.push(problems, "bundle-unique", message, self.mend.name);
        }
        if self.older.get(path).is_some_and(|older| !same_bytes(older, &file.entry.content)) {
            let message = format!("`{path}` of {} changed, and its name did not", self.label);
            let mend = "its hash must be one of the content; visitors would keep the old file for a year";
            self.push(problems, "bundle-unchanged-name", message, mend);
        }
    }

    fn check_pages(&self, problems: &mut Problems) -> Result<(), BuildError> {
        let paths: std::collections::HashSet<&str> =
            self.site.files.iter().map(|file| file.entry.path.as_str()).collect();
        for page in self.site.files.iter().filter(|file| bundle::is_page(&file.entry.path)) {
            let html = fs::read(&page.from).map_err(BuildError::io("read", &page.from))?;
            let path = page.entry.path.as_str();
            for reference in bundle::references(path, &String::from_utf8_lossy(&html)) {
                if !paths.contains(reference.as_str()) {
                    let message = format!("`{path}` of {} loads `{reference}`, which was not built", self.label);
                    let mend = "build it, remove the reference, or set the bundler's base path to `/`";
                    self.push(problems, "bundle-reference", message, mend);
                }
            }
        }
        Ok(())
    }

    fn push(&self, problems: &mut Problems, code: &'static str, message: String, mend: &str) {
        problems.push(Problem::error(code, self.label.as_str(), message).with_mend(mend));
    }
}

fn same_bytes(a: &Content, b: &Content) -> bool {
    match (a, b) {
        (Content::File { digest: a, .. }, Content::File { digest: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

/// Advice in the words of the bundler that the site uses.
struct Mend {
    name: &'static str,
    minify: &'static str,
}

impl Mend {
    fn of(site: &SiteFiles, compiled: &Compiled) -> Self {
        let build = site.source.build.as_deref().unwrap_or_default();
        let package = compiled.project.join(&site.source.dir).join("package.json");
        let package = fs::read_to_string(package).unwrap_or_default();
        let uses = |tool: &str| build.contains(tool) || package.contains(&format!("\"{tool}\""));
        if uses("vite") {
            Self {
                name: "import it from a module instead of keeping it in `public/`, and leave \
                       `build.rollupOptions.output` file names with `[hash]`",
                minify: "remove `build.minify: false` from the Vite configuration",
            }
        } else if uses("webpack") {
            Self {
                name: "set `output.filename` to `[name].[contenthash].js` (and the same for styles)",
                minify: "set webpack's `mode` to `production`, or `optimization.minimize` to true",
            }
        } else if uses("esbuild") {
            Self { name: "pass `--entry-names=[name]-[hash]` to esbuild", minify: "pass `--minify` to esbuild" }
        } else {
            Self {
                name: "let the bundler name it `name-<hash>.ext`, at least 8 characters of a hash of its content \
                       (Vite does; esbuild: `--entry-names=[name]-[hash]`; webpack: `[contenthash]`), or set \
                       `hashed = false`",
                minify: "build for production (esbuild: `--minify`; webpack: `mode: \"production\"`), or set \
                         `hashed = false`",
            }
        }
    }
}
