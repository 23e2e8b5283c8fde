//! What is rendered, and how.

use stack::{Problem, Problems, Resolved, Severity};

use crate::File;

/// A stack and how to write it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The environment that is rendered.
    pub resolved: Resolved,
    /// Every environment, for targets that write them all (`terraform`, `ci`, `runbook`); the rendered one among them.
    pub all: Vec<Resolved>,
    /// How to write it.
    pub options: Options,
}

/// How to write it.
#[derive(Debug, Clone)]
pub struct Options {
    /// From the folder the files are written to, the way to the stack file's folder. Default `../..`.
    pub project: String,
    /// The other way, from the stack file's folder to the files. Default `deploy/TARGET`.
    pub folder: Option<String>,
    /// Image store and account that built images are pushed to. Default `ghcr.io/your-account`.
    pub images: String,
    /// Tag of built images, by custom the commit. Default: the stack's version, or `unreleased`.
    pub tag: Option<String>,
    /// Kubernetes: write an Ingress instead of a Gateway's HTTPRoute.
    pub ingress: bool,
    /// What the target cannot honour is left out with a warning instead of being an error.
    pub leave_out: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            project: "../..".to_owned(),
            folder: None,
            images: "ghcr.io/your-account".to_owned(),
            tag: None,
            ingress: false,
            leave_out: false,
        }
    }
}

impl Options {
    pub(crate) fn settle(&self, problems: Problems) -> Problems {
        let mut settled = Problems::new();
        let softened = problems.into_iter().map(|problem| match problem.code {
            crate::honours::CODE if self.leave_out => Problem { severity: Severity::Warning, ..problem },
            _ => problem,
        });
        settled.extend(softened);
        settled
    }
}

impl Input {
    /// One environment, by the default options.
    pub fn new(resolved: Resolved) -> Self {
        Self { all: vec![resolved.clone()], resolved, options: Options::default() }
    }

    /// From the stack file's folder to the files of a target.
    pub(crate) fn folder(&self, target: crate::Target) -> String {
        self.options.folder.clone().unwrap_or_else(|| target.folder())
    }

    /// Tag of built images.
    pub(crate) fn tag(&self) -> &str {
        let version = self.resolved.stack.version.as_deref();
        self.options.tag.as_deref().or(version).unwrap_or("unreleased")
    }

    /// Image of what is built under this name.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{}/{name}:{}", self.options.images, self.resolved.stack.app, self.tag())
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The files, ordered by path.
    pub files: Vec<File>,
    /// Warnings; never errors.
    pub problems: Problems,
}
