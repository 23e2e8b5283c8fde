//! Known values in every spelling a program is likely to print.

use std::fmt::Write;

use super::{matches::Matches, table::Table};

/// Shorter values are ignored, see [`Redactor::new`](super::Redactor::new).
const SHORTEST: usize = 4;
/// Shorter lines of a value that has several are ignored: a key block has `-----`, a JSON document has `},`.
const SHORTEST_LINE: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Known {
    table: Table,
    longest: usize,
}

impl Known {
    pub(super) fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut words = Vec::new();
        for value in values {
            add(&value, &mut words);
            let trimmed = value.trim();
            if trimmed.len() < value.len() {
                add(trimmed, &mut words);
            }
            if trimmed.contains('\n') {
                let lines = trimmed.lines().map(str::trim);
                for line in lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----")) {
                    add(line, &mut words);
                }
            }
            if let Some(password) = url_password(trimmed) {
                add(password, &mut words);
                add(&percent_decoded(password), &mut words);
            }
        }
        let table = Table::new(words);
        let longest = table.words().map(<[u8]>::len).max().unwrap_or(0);
        Self { table, longest }
    }

    /// Length of the longest spelling in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        let mut found = Matches::default();
        self.find(text, &mut found);
        !found.is_empty()
    }

    /// Adds every place where a value is, overlapping ones included.
    pub(super) fn find(&self, text: &[u8], found: &mut Matches) {
        if self.longest == 0 {
            return;
        }
        for (start, pair) in text.windows(2).enumerate() {
            if self.table.may_begin(pair[0], pair[1])
                && let Some(length) = self.table.longest_at(&text[start..], |byte| byte)
            {
                found.add(start, start..start + length);
            }
        }
    }
}

/// Adds the spellings of one value.
fn add(value: &str, words: &mut Vec<Box<[u8]>>) {
    if value.trim().len() < SHORTEST {
        return;
    }
    let bytes = value.as_bytes();
    let mut put = |word: &[u8]| {
        if word.len() >= SHORTEST && !words.iter().any(|known| &**known == word) {
            words.push(word.into());
        }
    };
    put(bytes);
    for keep in ["-_.~", "-_.!~*'()", "-_.~/"] {
        let encoded = percent_encoded(bytes, keep);
        for spelled in [lower_hex(&encoded), encoded] {
            put(spelled.replace("%20", "+").as_bytes());
            put(spelled.as_bytes());
        }
    }
    let json = json(value);
    put(json.replace('/', "\\/").as_bytes());
    put(self::json(&json).as_bytes());
    put(ascii_json(value).as_bytes());
    put(json.as_bytes());
    put(value.escape_debug().to_string().as_bytes());
    put(value.replace('\'', "'\\''").as_bytes());
    let html = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    put(html.replace('\'', "&#39;").as_bytes());
    put(html.replace('\'', "&#x27;").as_bytes());
    put(html.as_bytes());
    let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    });
    put(hex.to_uppercase().as_bytes());
    put(hex.as_bytes());
    for alphabet in [STANDARD, URL_SAFE] {
        put(&base64(bytes, alphabet));
        for offset in 0..3 {
            put(&base64_within(bytes, offset, alphabet));
        }
    }
}

fn percent_encoded(bytes: &[u8], keep: &str) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _infallible = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn lower_hex(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len());
    let mut digits = 0;
    for letter in encoded.chars() {
        text.push(if digits > 0 { letter.to_ascii_lowercase() } else { letter });
        digits = if letter == '%' { 2 } else { i32::max(digits - 1, 0) };
    }
    text
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let decoded = (*first == b'%')
            .then(|| after.get(..2).and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()))
            .flatten();
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Inside of the JSON string.
fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The same as programs write it that keep to ASCII.
fn ascii_json(value: &str) -> String {
    json(value).chars().fold(String::new(), |mut text, letter| {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(text, "\\u{unit:04x}");
            }
        }
        text
    })
}

/// `PASSWORD` of `scheme://user:PASSWORD@host`.
fn url_password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _host) = authority.rsplit_once('@')?;
    Some(user.split_once(':')?.1)
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Without padding. Source: RFC 4648 sections 4 and 5.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for digit in 0..=group.len() {
            text.push(alphabet[(bits >> (18 - 6 * digit)) as usize & 63]);
        }
    }
    text
}

/// The digits that stay the same wherever the value stands in a longer text, `offset` bytes after a multiple of three:
/// without those it shares with its neighbours.
fn base64_within(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(bytes);
    let from = (offset * 8).div_ceil(6);
    let to = padded.len() * 8 / 6;
    base64(&padded, alphabet).get(from..to).map(<[u8]>::to_vec).unwrap_or_default()
}
