//! What answers visitors, and the contract of variables.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Period, ResourceRef};

/// One host name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Host name, lowercase, without a port; `*.` may lead; `*` alone is any host.
    pub host: String,
    /// Path prefixes (whole segments) and what answers; the longest match wins. Sorted longest first.
    pub paths: Vec<PathRoute>,
    /// Other names that are sent here with 308.
    pub redirect_from: Vec<String>,
}

/// What answers below one path prefix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathRoute {
    /// Starts with `/`.
    pub path: String,
    /// `service.x`, `site.x`, `function.x` or `bucket.x`.
    pub to: ResourceRef,
    /// The prefix is removed before the request is passed on.
    pub strip: bool,
    /// Requests allowed.
    pub limit: Option<Limit>,
    /// Name of the variable that lists the origins allowed to call from a page.
    pub cors: Option<String>,
    /// A visitor keeps coming to the same instance.
    pub sticky: bool,
    /// Upgrades are passed through. Default true.
    pub websocket: bool,
    /// Largest request body; `None` is no limit.
    pub max_body: Option<ByteSize>,
}

/// A rate limit, written `100/s per ip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How many requests.
    pub requests: u32,
    /// In how long.
    pub period: Period,
    /// Counted for whom.
    pub per: LimitKey,
}

/// For whom requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKey {
    /// Each client address.
    Ip,
    /// Everybody together.
    All,
}

/// One variable of the environment contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Never shown; never a default.
    pub secret: bool,
    /// What a value must look like.
    pub form: VariableForm,
    /// Value when none is given.
    pub default: Option<String>,
    /// May be absent. Default false unless there is a default.
    pub optional: bool,
    /// Fewest characters.
    pub min_length: Option<usize>,
    /// Most characters.
    pub max_length: Option<usize>,
    /// How often it must change.
    pub rotate: Option<Period>,
    /// What it is for, shown in messages.
    pub about: Option<String>,
}

/// What a variable's value must look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableForm {
    /// Any text.
    Text,
    /// One of these.
    OneOf(Vec<String>),
    /// A URL with a scheme and a host.
    Url,
    /// Comma-separated URLs.
    UrlList,
    /// A whole number.
    Integer,
    /// A TCP port, 1 to 65535.
    Port,
    /// `true` or `false`.
    Boolean,
    /// An address with one `@`.
    Email,
    /// A [`Period`].
    Duration,
    /// A host name or an IP address.
    Host,
}
