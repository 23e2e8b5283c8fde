//! What the edge is told of each file of a site.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The document `site/<name>.index.json`: what is known of each file of a site since it was packed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteIndex {
    /// By path without a leading slash, as in `assets/app.3f9c2a1b.js`.
    pub files: BTreeMap<String, SiteFile>,
}

/// One file of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFile {
    /// Bytes, uncompressed.
    pub size: u64,
    /// BLAKE3 of the content, hexadecimal: the strong `ETag`.
    pub digest: String,
    /// `Content-Type` value.
    pub content_type: String,
    /// The name carries a hash of the content: cached for a year, `immutable` (S4.P8).
    pub hashed: bool,
    /// Precompressed variants that lie beside it: `br`, `gzip`, `zstd` mapped to their sizes in bytes. The files
    /// are called `<name>.br`, `<name>.gz`, `<name>.zst`.
    pub variants: BTreeMap<String, u64>,
    /// When this path got this content, seconds since 1970: `Last-Modified`. An unchanged file keeps the time of
    /// the release before. It is no part of the release's id, and may go back with a rollback, so a reader compares
    /// it for equality and trusts the digest first.
    pub modified: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_release_made_before_can_still_be_read() {
        let file = SiteFile {
            size: 3,
            digest: "ab".to_owned(),
            content_type: "text/plain".to_owned(),
            hashed: false,
            variants: BTreeMap::from([("br".to_owned(), 2)]),
            modified: 7,
        };
        let index = SiteIndex { files: BTreeMap::from([("a.txt".to_owned(), file)]) };
        let json = r#"{"files":{"a.txt":{"size":3,"digest":"ab","content_type":"text/plain","hashed":false,"variants":{"br":2},"modified":7}}}"#;
        assert_eq!(serde_json::to_string(&index).unwrap(), json);
    }
}
