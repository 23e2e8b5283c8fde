//! Names and identifiers: strings that mean something get a type.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name was refused; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{value}` is not allowed: {reason}")]
pub struct BadName {
    /// What the name was for, as in "service name".
    pub kind: &'static str,
    /// The text that was refused.
    pub value: String,
    /// What is allowed.
    pub reason: &'static str,
}

/// Checks the shape all names share: 1 to 48 of `a-z 0-9 -`, starting with a letter, ending with a letter or digit.
///
/// The same shape is valid as a DNS label, a Kubernetes name and a folder on every file system.
fn check_label(kind: &'static str, value: &str) -> Result<(), BadName> {
    let refuse = |reason| Err(BadName { kind, value: value.to_owned(), reason });
    if value.is_empty() || value.len() > 48 {
        return refuse("use 1 to 48 characters");
    }
    if !value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return refuse("use lowercase letters, digits and `-`");
    }
    if !value.starts_with(|c: char| c.is_ascii_lowercase()) || value.ends_with('-') {
        return refuse("start with a letter and end with a letter or digit");
    }
    Ok(())
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps `value`: 1 to 48 of `a-z 0-9 -`, starting with a letter, not ending with `-`.
            pub fn new(value: impl Into<String>) -> Result<Self, BadName> {
                let value = value.into();
                check_label($kind, &value)?;
                Ok(Self(value))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(value: String) -> Result<Self, BadName> {
                Self::new(value)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(value: &str) -> Result<Self, BadName> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

label!(/// The application's name.
    AppName, "app name");
label!(/// An environment's name, as in `production`.
    EnvironmentName, "environment name");
label!(/// The name of one resource within its kind: the `api` of `[service.api]`.
    ResourceName, "name");

/// Every kind of resource a stack can declare, named as its table in the stack file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the stack file's own table of that name")]
pub enum Kind {
    Service,
    Site,
    Function,
    Job,
    Database,
    Cache,
    Queue,
    Bucket,
    Topic,
    Table,
    Search,
    Mail,
    Identity,
    Network,
    Dashboard,
    Waf,
    Cdn,
    Dns,
    Gateway,
    Log,
    Scrape,
    Key,
    Role,
    External,
    Cluster,
    Audit,
    Gate,
    Phase,
    Price,
}

impl Kind {
    /// All kinds, in the order the documentation lists them.
    pub const ALL: [Kind; 29] = [
        Kind::Service,
        Kind::Site,
        Kind::Function,
        Kind::Job,
        Kind::Database,
        Kind::Cache,
        Kind::Queue,
        Kind::Bucket,
        Kind::Topic,
        Kind::Table,
        Kind::Search,
        Kind::Mail,
        Kind::Identity,
        Kind::Network,
        Kind::Dashboard,
        Kind::Waf,
        Kind::Cdn,
        Kind::Dns,
        Kind::Gateway,
        Kind::Log,
        Kind::Scrape,
        Kind::Key,
        Kind::Role,
        Kind::External,
        Kind::Cluster,
        Kind::Audit,
        Kind::Gate,
        Kind::Phase,
        Kind::Price,
    ];

    /// The table's name in the stack file, as in `service`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Site => "site",
            Kind::Function => "function",
            Kind::Job => "job",
            Kind::Database => "database",
            Kind::Cache => "cache",
            Kind::Queue => "queue",
            Kind::Bucket => "bucket",
            Kind::Topic => "topic",
            Kind::Table => "table",
            Kind::Search => "search",
            Kind::Mail => "mail",
            Kind::Identity => "identity",
            Kind::Network => "network",
            Kind::Dashboard => "dashboard",
            Kind::Waf => "waf",
            Kind::Cdn => "cdn",
            Kind::Dns => "dns",
            Kind::Gateway => "gateway",
            Kind::Log => "log",
            Kind::Scrape => "scrape",
            Kind::Key => "key",
            Kind::Role => "role",
            Kind::External => "external",
            Kind::Cluster => "cluster",
            Kind::Audit => "audit",
            Kind::Gate => "gate",
            Kind::Phase => "phase",
            Kind::Price => "price",
        }
    }

    /// The kind whose table is called `text`.
    pub fn find(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reference to a resource of the stack, written `kind.name`, as in `database.main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceRef {
    /// Which table.
    pub kind: Kind,
    /// Which entry of it.
    pub name: ResourceName,
}

impl std::str::FromStr for ResourceRef {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = |reason| BadName { kind: "reference", value: text.to_owned(), reason };
        let (kind, name) =
            text.split_once('.').ok_or_else(|| bad("write it as `kind.name`, for example `database.main`"))?;
        let kind = Kind::find(kind).ok_or_else(|| bad("the part before the dot is not a kind of resource"))?;
        let name = ResourceName::new(name).map_err(|_| bad("the part after the dot is not a name"))?;
        Ok(Self { kind, name })
    }
}

impl TryFrom<String> for ResourceRef {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<ResourceRef> for String {
    fn from(reference: ResourceRef) -> String {
        reference.to_string()
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.name)
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a digest written in lowercase hexadecimal.
            pub fn new(value: impl Into<String>) -> Result<Self, BadName> {
                let value = value.into();
                let hex = value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if !hex || value.len() != $length {
                    return Err(BadName { kind: $kind, value, reason: concat!("expected ", $length, " hexadecimal digits") });
                }
                Ok(Self(value))
            }

            /// The whole digest as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits: what people read and type.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(value: String) -> Result<Self, BadName> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

digest_id!(/// A release's name: the BLAKE3 digest of its manifest, 64 hexadecimal digits. Displays as the first 12.
    ReleaseId, "release id", 64);
digest_id!(/// The name of one set of variable values: a keyed digest that tells two sets apart and nothing about them.
    ValuesId, "values id", 16);

/// What an instance is made from: a release and the variable values it runs with.
///
/// Changing either is a deploy; rolling back brings both back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision {
    /// Which files, images and migrations.
    pub release: ReleaseId,
    /// Which variable values.
    pub values: ValuesId,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.release.as_str(), self.values.as_str())
    }
}

impl TryFrom<String> for Revision {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        let bad =
            BadName { kind: "revision", value: text.clone(), reason: "expected a release id, `+` and a values id" };
        let (release, values) = text.split_once('+').ok_or(bad)?;
        Ok(Self { release: ReleaseId::new(release)?, values: ValuesId::new(values)? })
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.to_string()
    }
}
