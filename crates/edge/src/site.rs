//! Static sites: which file answers a path. Only names that stand in an index are ever opened.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    body::EdgeBody,
    connection::Visitor,
    page,
    registry::Registry,
    representation,
    routes::Rule,
    table::{self, SiteIndex},
    traffic::Meter,
};

/// A site of the table.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) id: String,
    spa: bool,
    roots: Vec<Weighted>,
}

#[derive(Debug)]
struct Weighted {
    root: Arc<Root>,
    weight: u32,
    meter: Arc<Meter>,
}

/// One release's folder with its index.
#[derive(Debug)]
pub(crate) struct Root {
    files: HashMap<String, File>,
}

/// One file, with every header value made once.
#[derive(Debug)]
pub(crate) struct File {
    /// Unique in this process, times four: room for the variants' numbers.
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) content_type: HeaderValue,
    pub(crate) cache_control: HeaderValue,
    pub(crate) last_modified: HeaderValue,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    /// Its name says what is in it, so it may outlive its release.
    hashed: bool,
    pub(crate) plain: Variant,
    /// In the order the edge prefers them.
    pub(crate) encoded: Vec<(&'static str, Variant)>,
}

/// One encoding of a file.
#[derive(Debug)]
pub(crate) struct Variant {
    /// What is added to the file's name.
    pub(crate) suffix: &'static str,
    pub(crate) size: u64,
    /// Strong, and different for each encoding (RFC 9110 section 8.8.3.3).
    pub(crate) etag: HeaderValue,
}

impl Root {
    /// Where the index of a folder lies.
    pub(crate) fn index_path(folder: &Path) -> PathBuf {
        let mut name = folder.as_os_str().to_owned();
        name.push(".index.json");
        name.into()
    }

    /// Reads the index of a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = Self::index_path(folder);
        let text = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let index: SiteIndex =
            serde_json::from_slice(&text).map_err(|error| format!("{} is not an index: {error}", path.display()))?;
        let mut files = HashMap::with_capacity(index.files.len());
        for (name, file) in index.files {
            let escapes = Path::new(&name).components().any(|part| !matches!(part, std::path::Component::Normal(_)));
            if escapes || name.is_empty() {
                return Err(format!("{} names `{name}`, which is not inside the folder", path.display()));
            }
            let value = |text: &str| HeaderValue::try_from(text).map_err(|_| format!("`{name}`: bad value `{text}`"));
            let etag = |suffix: &str| value(&format!("\"{}{suffix}\"", file.digest));
            let mut encoded = Vec::new();
            for (coding, suffix) in [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")] {
                if let Some(size) = file.variants.get(coding).filter(|size| **size < file.size) {
                    encoded.push((coding, Variant { suffix, size: *size, etag: etag(&format!("-{coding}"))? }));
                }
            }
            let html = file.content_type.starts_with("text/html");
            let made = File {
                number: NUMBER.fetch_add(4, Ordering::Relaxed),
                path: folder.join(&name),
                content_type: value(&file.content_type)?,
                cache_control: HeaderValue::from_static(if file.hashed {
                    "public, max-age=31536000, immutable"
                } else if html {
                    "no-cache"
                } else {
                    "public, max-age=300"
                }),
                last_modified: value(&representation::http_date(file.modified))?,
                modified: file.modified,
                hashed: file.hashed,
                plain: Variant { suffix: "", size: file.size, etag: etag("")? },
                encoded,
            };
            files.insert(name, made);
        }
        Ok(Self { files })
    }
}

/// What a path means.
enum Found<'a> {
    File(&'a File, &'a Weighted),
    /// A folder that was asked for without its slash.
    Folder(&'a Weighted),
    Nothing,
}

impl Site {
    pub(crate) fn new(id: &str, site: &table::Site, registry: &mut Registry) -> Result<Self, String> {
        let mut roots = Vec::with_capacity(site.roots.len());
        for root in &site.roots {
            roots.push(Weighted {
                root: registry.root(&root.folder)?,
                weight: root.weight,
                meter: registry.meter(id, &root.revision),
            });
        }
        Ok(Self { id: id.to_owned(), spa: site.spa, roots })
    }

    /// The release a visitor sees: by weight, and the same for one address as long as the weights stay, so that a page
    /// and its scripts come from one release.
    fn chosen(&self, client: IpAddr) -> Option<usize> {
        let total: u64 = self.roots.iter().map(|one| u64::from(one.weight)).sum();
        let mut ticket = hash(client).checked_rem(total)?;
        self.roots.iter().position(|one| {
            let mine = ticket < u64::from(one.weight);
            ticket = ticket.saturating_sub(u64::from(one.weight));
            mine
        })
    }

    /// The roots in the order they are looked through.
    fn order(&self, client: IpAddr) -> impl Iterator<Item = &Weighted> {
        let first = self.chosen(client).unwrap_or(0);
        self.roots
            .get(first)
            .into_iter()
            .chain(self.roots.iter().enumerate().filter(move |(index, _)| *index != first).map(|(_, root)| root))
    }

    fn find(&self, path: &str, client: IpAddr) -> Found<'_> {
        let name = path.strip_prefix('/').unwrap_or(path);
        let folder = name.is_empty() || name.ends_with('/');
        let index = if folder { format!("{name}index.html") } else { format!("{name}/index.html") };
        let wanted = if folder { index.as_str() } else { name };
        for (position, root) in self.order(client).enumerate() {
            // A page that is still open finds its scripts; what a newer release left out is gone.
            if let Some(file) = root.root.files.get(wanted)
                && (position == 0 || root.weight > 0 || file.hashed)
            {
                return Found::File(file, root);
            }
        }
        let mut present = self.order(client).enumerate().filter(|(position, one)| *position == 0 || one.weight > 0);
        if !folder && let Some((_, root)) = present.find(|(_, one)| one.root.files.contains_key(&index)) {
            return Found::Folder(root);
        }
        Found::Nothing
    }

    fn entry(&self, client: IpAddr) -> Option<(&File, &Weighted)> {
        self.order(client).find_map(|root| Some((root.root.files.get("index.html")?, root)))
    }
}

/// Answers a request for a site. `path` is in normal form.
pub(crate) async fn answer(
    visitor: &Visitor,
    client: IpAddr,
    site: &Site,
    rule: &Rule,
    request: &Request<Incoming>,
    path: &str,
    started: Instant,
) -> Response<EdgeBody> {
    let accept = page::accept(request.headers());
    let below = if rule.passing.strip { path.strip_prefix(&*rule.passing.prefix).unwrap_or(path) } else { path };
    let (response, meter) = match decode(below) {
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            let mut response = page::answer(StatusCode::METHOD_NOT_ALLOWED, "files can be read, not written", accept);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            (response, None)
        }
        None => (not_found(accept), None),
        Some(name) => match site.find(&name, client) {
            // Below a prefix the site begins at the slash: without it, what its page names would be looked for beside.
            Found::File(_, root) if name.is_empty() && !path.ends_with('/') => {
                (with_slash(request, path), Some(&root.meter))
            }
            Found::File(file, root) => (send(visitor, file, rule, request).await, Some(&root.meter)),
            Found::Folder(root) => (with_slash(request, path), Some(&root.meter)),
            Found::Nothing => {
                let page = site.spa && !looks_like_file(&name) && accept.is_some_and(page::is_html);
                match site.entry(client).filter(|_| page) {
                    Some((file, root)) => (send(visitor, file, rule, request).await, Some(&root.meter)),
                    None => (not_found(accept), None),
                }
            }
        },
    };
    let chosen = || site.order(client).next().map(|root| &root.meter);
    if let Some(meter) = meter.or_else(chosen) {
        meter.record(visitor.worker.number, response.status().as_u16(), started.elapsed());
    }
    response
}

/// A file as the visitor may have it. How long it may be kept is for the site to say, where it does, but for hashed names
/// (S4.P8).
async fn send(visitor: &Visitor, file: &File, rule: &Rule, request: &Request<Incoming>) -> Response<EdgeBody> {
    let mut response = representation::answer(&visitor.worker, file, request).await;
    let status = response.status();
    if !file.hashed
        && (status.is_success() || status == StatusCode::NOT_MODIFIED)
        && rule.headers.iter().any(|(name, _)| *name == header::CACHE_CONTROL)
    {
        response.headers_mut().remove(header::CACHE_CONTROL);
    }
    response
}

/// 308 to the folder with its slash. The path is in normal form, so it cannot begin with `//` and lead elsewhere.
fn with_slash(request: &Request<Incoming>, path: &str) -> Response<EdgeBody> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = page::empty(StatusCode::PERMANENT_REDIRECT);
    if let Ok(location) = HeaderValue::try_from(format!("{path}/{query}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn not_found(accept: Option<&HeaderValue>) -> Response<EdgeBody> {
    page::answer(StatusCode::NOT_FOUND, "there is no such page", accept)
}

/// Whether the last segment has an extension, so that a missing script is a 404 and not a page.
fn looks_like_file(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty()
            && (1..=12).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && extension.bytes().any(|byte| byte.is_ascii_alphabetic())
    })
}

/// Percent-decoding; `None` for what cannot be a name.
fn decode(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = path.get(at + 1..at + 3)?;
            decoded.push(u8::from_str_radix(hex, 16).ok().filter(|byte| *byte != 0)?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

/// Spreads addresses evenly.
fn hash(client: IpAddr) -> u64 {
    let mut word = match client {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        // the /64, which is one visitor however many addresses it uses
        IpAddr::V6(v6) => v6.octets()[..8].iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
    };
    for _ in 0..2 {
        word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    word ^ (word >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_an_extension_are_files() {
        for (path, file) in [
            ("/app.js", true),
            ("/assets/a.b.woff2", true),
            ("/about", false),
            ("/users/jane.doe/", false),
            ("/v1.2", false),
            ("/.well-known", false),
            ("/what.is-this", false),
        ] {
            assert_eq!(looks_like_file(path), file, "{path}");
        }
    }

    #[test]
    fn decoding_refuses_what_is_no_name() {
        assert_eq!(decode("/caf%C3%A9").as_deref(), Some("/café"));
        for bad in ["/%00", "/%zz", "/%", "/%f", "/%FF"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
