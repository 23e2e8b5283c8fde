//! What a difference consists of.
//!
//! ```text
//! "slipway delta 2\n"
//! length of the header as it travels, and as it is: two u32, little endian
//! the header: JSON, compressed by zstd
//! the segments in order, each one zstd frame
//! ```

use serde::{Deserialize, Serialize};
use stack::{AppName, ReleaseId};

use crate::{Record, compress::Coding, tree};

/// The first bytes.
pub(super) const MAGIC: &[u8; 16] = b"slipway delta 2\n";

/// Largest header, as it travels and as it is: room for half a million files.
pub(super) const LARGEST_HEADER: u32 = 128 << 20;

/// Largest document: a manifest of half a million files.
pub(super) const LARGEST_DOCUMENT: u64 = 128 << 20;

/// Most bytes of one segment, and of its prefix: what bounds the memory of both sides.
pub(super) const LARGEST_SEGMENT: u64 = 64 << 20;
pub(super) const LARGEST_PREFIX: u64 = 128 << 20;

/// The header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) app: AppName,
    pub(super) release: ReleaseId,
    /// Who built it; kept by the receiver when it has none.
    pub(super) record: Option<Record>,
    /// What the sequence of bytes consists of. The manifest is first, then the indexes of its sites.
    pub(super) parts: Vec<Part>,
    /// Their lengths sum up to the sizes of the parts; they need not begin where a part begins.
    pub(super) segments: Vec<Segment>,
}

/// A piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    /// A document of a release: `release.json` or `site/<name>.index.json`.
    Document { release: ReleaseId, path: String },
    /// An object of the store.
    Object { digest: String, form: Form },
}

/// Which of a digest's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    Plain,
    Executable,
    Brotli,
    Gzip,
    Zstd,
}

impl Form {
    pub(super) fn of(executable: bool) -> Self {
        if executable { Self::Executable } else { Self::Plain }
    }

    pub(super) fn of_coding(coding: Coding) -> Self {
        match coding {
            Coding::Brotli => Self::Brotli,
            Coding::Gzip => Self::Gzip,
            Coding::Zstd => Self::Zstd,
        }
    }

    /// How it is compressed.
    pub(super) fn coding(self) -> Option<Coding> {
        match self {
            Self::Plain | Self::Executable => None,
            Self::Brotli => Some(Coding::Brotli),
            Self::Gzip => Some(Coding::Gzip),
            Self::Zstd => Some(Coding::Zstd),
        }
    }

    /// What is added to the digest in the object's name.
    pub(super) fn suffix(self) -> &'static str {
        self.coding().map_or_else(|| tree::object_suffix(self == Self::Executable), Coding::suffix)
    }
}

/// Something whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) name: Name,
    pub(super) size: u64,
}

/// A stretch of the sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// Bytes of the sequence.
    pub(super) length: u64,
    /// Bytes as they travel.
    pub(super) packed: u64,
    /// They are a script over the prefix (see `script`), so long; 0 when they are the content itself.
    pub(super) script: u64,
    /// What the receiver has and the segment resembles, one after the other.
    pub(super) prefix: Vec<Piece>,
}

/// A stretch of content that the receiver has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) name: Name,
    pub(super) from: u64,
    pub(super) length: u64,
}

impl Segment {
    /// Bytes of the prefix; `None` when no honest sender would write them.
    pub(super) fn prefix_length(&self) -> Option<u64> {
        self.prefix.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.length))
    }

    /// The window in which all of prefix and content lie, as a power of two.
    pub(super) fn window_log(&self) -> u32 {
        let reach = self.length + self.prefix_length().unwrap_or(0);
        // zstd's own smallest is 10
        reach.max(1 << 10).next_power_of_two().trailing_zeros().min(31)
    }
}
