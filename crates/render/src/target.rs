//! The engines whose files can be written.

use std::{fmt, str::FromStr};

/// An engine, or a page for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A compose file, with the Dockerfiles of what is built.
    Compose,
    /// Kubernetes manifests, and a Helm chart of the same.
    Kubernetes,
    /// Terraform or OpenTofu for AWS.
    Terraform,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [Target::Compose, Target::Kubernetes, Target::Terraform];

    /// The word for it on the command line, and the folder its files go to.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Compose => "compose",
            Target::Kubernetes => "kubernetes",
            Target::Terraform => "terraform",
        }
    }

    /// The folder its files go to by custom, below the stack file's.
    pub fn folder(self) -> String {
        format!("deploy/{self}")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No target of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is nothing that can be rendered; use one of {list}", list = Target::ALL.map(Target::as_str).join(", "))]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;
    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Target::ALL.into_iter().find(|target| target.as_str() == text).ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}
