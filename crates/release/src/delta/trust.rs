//! What a receiver makes sure of before it touches its disk.

use std::{
    collections::{HashMap, HashSet},
    path::{Component, Path},
};

use stack::ResourceName;

use super::{
    format::{Header, LARGEST_DOCUMENT, LARGEST_PREFIX, LARGEST_SEGMENT, Name},
    read::{DeltaError, malformed},
};
use crate::{Content, Manifest};

/// Everything that can be known before a byte of content is read.
pub(super) fn check_header(header: &Header) -> Result<(), DeltaError> {
    let sum = |mut sizes: Box<dyn Iterator<Item = u64> + '_>| {
        sizes.try_fold(0_u64, u64::checked_add).ok_or_else(|| malformed("its sizes overflow"))
    };
    let parts = sum(Box::new(header.parts.iter().map(|part| part.size)))?;
    if parts != sum(Box::new(header.segments.iter().map(|one| one.length)))? {
        return Err(malformed("its segments are not as long as its parts"));
    }
    for segment in &header.segments {
        let prefix = segment.prefix_length().unwrap_or(u64::MAX);
        let longest = segment.length.max(segment.script);
        if segment.length == 0 || longest > LARGEST_SEGMENT || prefix > LARGEST_PREFIX {
            return Err(malformed("a segment or its prefix is too long"));
        }
        if !segment.prefix.iter().all(|piece| is_name(&piece.name)) {
            return Err(malformed("a prefix names something that no store has"));
        }
    }
    let mut seen = HashSet::new();
    for (index, part) in header.parts.iter().enumerate() {
        let document = match &part.name {
            Name::Document { release, path } => {
                let own = *release == header.release && part.size <= LARGEST_DOCUMENT;
                if !own || (path == "release.json") != (index == 0) {
                    return Err(malformed(format!("`{path}` has no business in it")));
                }
                true
            }
            Name::Object { .. } => false,
        };
        if !is_name(&part.name) || !seen.insert(&part.name) || index == 0 && !document {
            return Err(malformed("its parts are not in order"));
        }
    }
    if header.parts.is_empty() {
        return Err(malformed("it holds nothing"));
    }
    Ok(())
}

/// Whether it is a BLAKE3 in hexadecimal.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether it names something inside a store.
fn is_name(name: &Name) -> bool {
    match name {
        Name::Object { digest, .. } => is_digest(digest),
        Name::Document { path, .. } => path == "release.json" || site_of(path).is_some(),
    }
}

/// The site whose index has this path.
pub(super) fn site_of(path: &str) -> Option<ResourceName> {
    path.strip_prefix("site/")?.strip_suffix(".index.json")?.parse().ok()
}

/// Whether a manifest's paths stay inside the release, and no file lies below another file or a link.
pub(super) fn check_paths(manifest: &Manifest) -> Result<(), DeltaError> {
    let inside =
        |path: &str| !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let all: HashMap<String, &Content> = manifest.entries().map(|(path, entry)| (path, &entry.content)).collect();
    if all.len() != manifest.entries().count() {
        return Err(malformed("two files have one path"));
    }
    for (_, entry) in manifest.entries() {
        if !inside(&entry.path) || entry.path.contains('\0') {
            return Err(malformed(format!("the path `{}` leads out of the release", entry.path)));
        }
        if let Content::File { digest, .. } = &entry.content
            && !is_digest(digest)
        {
            return Err(malformed(format!("`{}` has no digest", entry.path)));
        }
        if let Content::Link { target } = &entry.content {
            let mut depth = entry.path.split('/').count() - 1;
            for part in Path::new(target).components() {
                match part {
                    Component::Normal(_) => depth += 1,
                    Component::CurDir => {}
                    Component::ParentDir if depth > 0 => depth -= 1,
                    _ => return Err(malformed(format!("the link `{}` leads out of the release", entry.path))),
                }
            }
        }
    }
    for path in all.keys() {
        let mut at = path.as_str();
        while let Some((parent, _)) = at.rsplit_once('/') {
            if all.contains_key(parent) {
                return Err(malformed(format!("`{parent}` is no folder, and `{path}` lies in it")));
            }
            at = parent;
        }
    }
    Ok(())
}
