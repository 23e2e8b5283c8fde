//! A text that must not be seen, and how one is made.

use std::fmt;

use rand::RngExt as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Fewest random bytes in a generated secret: as many as `openssl rand -base64 32` takes (S3.4).
const FEWEST_BYTES: usize = 32;

/// A text that is never printed: not by `Debug`, and there is no `Display`. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretString(String);

impl SecretString {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(hidden)")
    }
}

/// A new random secret of at least `min_length` characters, and never fewer than 43: 32 random bytes (S3.4).
///
/// It is base64 in the alphabet that needs no quotes in a URL, a shell or a file: `A-Z a-z 0-9 - _`, without padding.
pub fn generate(min_length: usize) -> SecretString {
    // 3 bytes make 4 characters
    let bytes = FEWEST_BYTES.max(min_length.saturating_mul(3).div_ceil(4));
    let mut random = vec![0u8; bytes];
    rand::rng().fill(&mut random[..]);
    let text = base64_url(&random);
    random.zeroize();
    SecretString(text)
}

/// Base64 with the URL-safe alphabet, without padding. Source: RFC 4648 section 5.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let known = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")];
        for (bytes, text) in known {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff, 0xbf]), "-_-_");
    }

    #[test]
    fn a_generated_secret_has_32_random_bytes_and_the_length_asked_for() {
        // proves S3.4
        for (asked, length) in [(0, 43), (12, 43), (43, 44), (44, 44), (64, 64), (65, 66), (200, 200)] {
            let secret = generate(asked);
            assert!(secret.expose().len() >= asked && secret.expose().len() == length, "{asked}");
            assert!(secret.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        }
        assert_ne!(generate(0), generate(0));
    }

    #[test]
    fn debug_never_shows_it() {
        let shown = format!("{:?}", Some(SecretString::new("hunter2")));
        assert_eq!(shown, "Some(SecretString(hidden))");
    }
}
