//! Tokens that are known by how they begin, and credentials in URLs and headers.

use super::{matches::Matches, shapes::is_word};

/// How tokens begin whose issuers gave them a form.
pub(super) const PREFIXES: &[&str] = &[
    "eyJ",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxa-",
    "xoxb-",
    "xoxe-",
    "xoxp-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "hooks.slack.com/services/",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "sk-",
    "AIza",
    "npm_",
    "SG.",
    "AGE-SECRET-KEY-1",
];

/// Adds the token that begins at `start`, whose case matters. True when there is one.
pub(super) fn find(text: &[u8], start: usize, before: u8, found: &mut Matches) -> bool {
    if is_word(before) {
        return false;
    }
    let token = &text[start..];
    let length =
        |extra: &[u8]| token.iter().take_while(|byte| byte.is_ascii_alphanumeric() || extra.contains(byte)).count();
    let at_least = |prefix: &str, extra: &[u8], least: usize| {
        let length = length(extra);
        (token.starts_with(prefix.as_bytes()) && length >= prefix.len() + least).then_some(length)
    };
    let end = if token.starts_with(b"eyJ") {
        jwt(token)
    } else if token.starts_with(b"AKIA") || token.starts_with(b"ASIA") {
        let length = length(b"_");
        let key = length == 20 && token[..20].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if key {
            aws_secrets(text, found);
        }
        key.then_some(20)
    } else if token.starts_with(b"gh") {
        let kind = matches!(token.get(2), Some(b'p' | b'o' | b'u' | b's' | b'r')) && token.get(3) == Some(&b'_');
        Some(length(b"_")).filter(|length| kind && *length >= 40)
    } else if token.starts_with(b"hooks.slack.com/services/") {
        at_least("hooks.slack.com/services/", b"./", 20)
    } else if token.starts_with(b"sk-") {
        at_least("sk-", b"-_", 32).filter(|length| token[..*length].iter().any(u8::is_ascii_digit))
    } else {
        let forms: [(&str, &[u8], usize); 17] = [
            ("github_pat_", b"_", 22),
            ("glpat-", b"-_", 20),
            ("xoxa-", b"-", 10),
            ("xoxb-", b"-", 10),
            ("xoxe-", b"-", 10),
            ("xoxp-", b"-", 10),
            ("xoxr-", b"-", 10),
            ("xoxs-", b"-", 10),
            ("xapp-", b"-", 10),
            ("sk_live_", b"_", 10),
            ("sk_test_", b"_", 10),
            ("rk_live_", b"_", 10),
            ("rk_test_", b"_", 10),
            ("whsec_", b"_+/=", 10),
            ("AIza", b"-_", 35),
            ("npm_", b"", 36),
            ("AGE-SECRET-KEY-1", b"-", 50),
        ];
        forms.into_iter().find_map(|(prefix, extra, least)| at_least(prefix, extra, least)).or_else(|| {
            let dots = token.iter().take(length(b".-_")).filter(|byte| **byte == b'.').count();
            at_least("SG.", b".-_", 40).filter(|_| dots == 2)
        })
    };
    if let Some(length) = end {
        found.add(start, start..start + length);
    }
    end.is_some()
}

/// Three parts of base64url, the first of which is JSON. Source: RFC 7515.
fn jwt(text: &[u8]) -> Option<usize> {
    let length = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'='))
        .count();
    let parts: Vec<usize> = text[..length].split(|byte| *byte == b'.').map(<[u8]>::len).collect();
    (parts.len() >= 2 && parts[0] >= 10 && parts[1] >= 4).then_some(length)
}

/// An access key's secret has no form but 40 digits of base64: next to its key that is enough, when it is no hash.
fn aws_secrets(text: &[u8], found: &mut Matches) {
    let mut start = 0;
    for word in text.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'/' | b'+')) {
        let mixed = word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
        if word.len() == 40 && mixed {
            found.add(start, start..start + 40);
        }
        start += word.len() + 1;
    }
}

/// `scheme://user:PASSWORD@host`, and a long user without a password, which is a token.
pub(super) fn url(text: &[u8], start: usize, end: usize, found: &mut Matches) {
    let rest = &text[end..];
    let stop = |byte: &u8| {
        byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\')
    };
    let authority = &rest[..rest.iter().position(stop).unwrap_or(rest.len())];
    let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else { return };
    match authority[..at].iter().position(|byte| *byte == b':') {
        Some(colon) => found.add(start, end + colon + 1..end + at),
        None if at >= 20 => found.add(start, end..end + at),
        None => {}
    }
}

/// `Bearer TOKEN` and `Basic TOKEN` without the name of the header.
pub(super) fn scheme(text: &[u8], start: usize, end: usize, found: &mut Matches) {
    let rest = &text[end..];
    let length = rest
        .iter()
        .take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
        })
        .count();
    let token = &rest[..length];
    let secret = if text[start].eq_ignore_ascii_case(&b'b') && text[start + 1].eq_ignore_ascii_case(&b'e') {
        length >= 20 || length >= 8 && token.iter().any(u8::is_ascii_digit)
    } else {
        is_basic(token)
    };
    if secret {
        found.add(start, end..end + length);
    }
}

/// `base64(user:password)`: "basic authentication" is not, though it has the same letters.
fn is_basic(token: &[u8]) -> bool {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut colon = false;
    for byte in token.iter().filter(|byte| **byte != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            let decoded = (bits >> count) & 0xff;
            if decoded < 0x20 {
                return false;
            }
            colon |= decoded == u32::from(b':');
        }
    }
    colon
}
