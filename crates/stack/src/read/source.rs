//! How the files of something come to be: a folder, an image or a Dockerfile.

use super::section::Section;
use crate::{FolderSource, Source};

/// The folder a resource is built in when it says nothing.
pub(crate) fn here() -> FolderSource {
    FolderSource { dir: ".".to_owned(), build: None, out: Vec::new() }
}

/// The source this table describes; `None` when it names none.
pub(crate) fn find(section: &Section<'_>) -> Option<Source> {
    let (dir, build) = (section.path("dir"), section.text("build"));
    let out: Vec<String> = section.texts("out").iter().filter_map(super::section::Entry::relative_path).collect();
    let image = section.text("image");
    let (file, context) = (section.path("dockerfile"), section.path("context"));
    check_alone(section);
    if section.has("image") {
        return Some(Source::Image(image.unwrap_or_default()));
    }
    if section.has("dockerfile") {
        let context = context.unwrap_or_else(|| ".".to_owned());
        return Some(Source::Dockerfile { file: file.unwrap_or_default(), context });
    }
    let folder = ["dir", "build", "out"].iter().any(|key| section.has(key));
    folder.then(|| Source::Folder(FolderSource { dir: dir.unwrap_or_else(|| ".".to_owned()), build, out }))
}

/// A resource has one source only.
fn check_alone(section: &Section<'_>) {
    for (key, others) in
        [("image", &["dockerfile", "context", "dir", "build", "out"][..]), ("dockerfile", &["dir", "build", "out"])]
    {
        let Some(other) = others.iter().find(|other| section.has(key) && section.has(other)) else { continue };
        let message = format!("{} has both `{key}` and `{other}`", section.path.place());
        let (name, _) = section.table.get_key_value(*other).expect("just found");
        let problem = section.problem("conflicting-keys", message).with_span(name.span());
        section
            .notes
            .add(problem.with_mend("keep one: `image`, `dockerfile` with `context`, or `dir` with `build` and `out`"));
        return;
    }
    if section.has("context") && !section.has("dockerfile") && !section.has("image") {
        section.missing("dockerfile", "`context` belongs to a `dockerfile`; for a folder write `dir`");
    }
}
