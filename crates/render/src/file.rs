//! A rendered file and the words at its head.

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path below the target's folder, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// First line of every rendered file whose format has comments; by it a file is known to be ours.
pub(crate) const MARK: &str = "rendered by slipway; do not edit, edit slipway.toml and render again";

impl File {
    /// A file whose comments begin with `#`, with the mark and what it is at its head.
    pub(crate) fn new(path: impl Into<String>, about: &str, body: &str) -> Self {
        let mut text = format!("# {MARK}\n");
        for line in about.lines() {
            text.push_str("# ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        text.push_str(body);
        Self { path: path.into(), text }
    }

    /// With exactly one newline at its end.
    pub(crate) fn ended(mut self) -> Self {
        self.text.truncate(self.text.trim_end().len());
        self.text.push('\n');
        self
    }

    /// A short name of the text, by which a file that somebody changed is told from one that was only rendered before.
    /// FNV-1a, 64 bits: it guards against forgetting, not against malice.
    pub fn fingerprint(text: &str) -> String {
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }
}
