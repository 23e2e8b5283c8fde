//! File names that carry a hash of the content: `app-3f9c2a1b.js`, `app.3f9c2a1b.js`, `main.3f9c2a1b.chunk.js`.
//!
//! A hash is at least eight characters of hexadecimal, base 62, or base64url. Names alone cannot tell a hash from
//! a word for certain, so there are two answers: [`may_be`] never overlooks a real hash and is asked where the stack
//! promises hashes; [`is`] rarely takes a word for one and is asked where nothing is promised, since a wrong yes
//! would keep an old file in browsers for a year.

/// Fewest characters of a hash.
const SHORTEST: usize = 8;

/// Most; SHA-256 in hexadecimal.
const LONGEST: usize = 64;

/// A part of a path that is nothing but a hash, without a name before it, has to be this long.
const ALONE: usize = 16;

/// Whether the name could carry a hash.
pub(crate) fn may_be(path: &str) -> bool {
    find(path).is_some()
}

/// Whether the name surely carries a hash, and not a word that looks like one.
pub(crate) fn is(path: &str) -> bool {
    candidates(path).any(|part| looks_hashed(part) && !is_like_words(part))
}

/// The hash in a name, when there may be one.
pub(crate) fn find(path: &str) -> Option<&str> {
    candidates(path).find(|part| looks_hashed(part))
}

/// Parts of a path where a hash may stand.
fn candidates(path: &str) -> impl Iterator<Item = &str> {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let in_name = stem.split('.').enumerate().flat_map(|(index, part)| {
        let whole = (index > 0 || part.len() >= ALONE && is_hexadecimal(part)).then_some(part);
        // Vite's own eight characters are base64url: the `-` may be one of them.
        let eight = part.len().checked_sub(SHORTEST).filter(|at| *at > 0).and_then(|at| {
            let tail = part.get(at..)?;
            let inside = tail.contains(['-', '_']) && is_mixed(tail);
            (part.as_bytes()[at - 1] == b'-' && inside).then_some(tail)
        });
        let after_dash = part.rsplit_once('-').map(|(_, tail)| tail);
        let after_line = part.rsplit_once('_').map(|(_, tail)| tail).filter(|tail| is_hexadecimal(tail));
        [whole, eight, after_dash, after_line].into_iter().flatten()
    });
    // A folder may carry it for all that lies below, as with Next.js' build id.
    let in_folder = folders.split('/').filter(|part| part.len() >= ALONE && is_mixed(part) && has_digit(part));
    in_name.chain(in_folder)
}

fn looks_hashed(part: &str) -> bool {
    let allowed = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !allowed || !(SHORTEST..=LONGEST).contains(&part.len()) || is_date(part) {
        return false;
    }
    // esbuild writes eight characters of base 32, one time in five without a digit.
    let base32 = part.len() == 8 && part.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b));
    (has_digit(part) || is_mixed(part) || base32) && !is_word_and_number(part)
}

fn is_hexadecimal(part: &str) -> bool {
    part.len() >= SHORTEST && has_digit(part) && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn has_digit(part: &str) -> bool {
    part.bytes().any(|b| b.is_ascii_digit())
}

fn is_mixed(part: &str) -> bool {
    part.bytes().any(|b| b.is_ascii_uppercase()) && part.bytes().any(|b| b.is_ascii_lowercase())
}

/// `20261125`.
fn is_date(part: &str) -> bool {
    let number = |range: std::ops::Range<usize>| part.get(range).and_then(|text| text.parse::<u32>().ok());
    part.len() == 8
        && part.bytes().all(|b| b.is_ascii_digit())
        && matches!((number(0..4), number(4..6), number(6..8)), (Some(1900..=2199), Some(1..=12), Some(1..=31)))
}

/// `datepicker2`: letters of a word, then a short number. Not `deadbee1`, which is hexadecimal.
fn is_word_and_number(part: &str) -> bool {
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = part.len() - word.len();
    digits <= 3 && word.bytes().all(|b| b.is_ascii_lowercase()) && !is_hexadecimal(part)
}

/// `DatePicker`, `CHANGES2`: capitals where words have them.
fn is_like_words(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.bytes().any(|b| !b.is_ascii_alphabetic()) {
        return false;
    }
    let mut run = 2;
    let camel = letters.bytes().all(|b| {
        let fits = b.is_ascii_lowercase() || run >= 2;
        run = if b.is_ascii_uppercase() { 0 } else { run + 1 };
        fits
    });
    camel && run >= 1 || letters.bytes().all(|b| b.is_ascii_uppercase()) && !has_digit(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_bundlers_write_are_known() {
        for name in [
            "assets/index-BfX2k_aA.js",
            "assets/index-B-X2kfaA.css",
            "app-5VKXPRTB.js",
            "main.3f9c2a1b.js",
            "static/js/main.8d3f2a1c.chunk.js",
            "app-3f9c2a1b.min.js",
            "vendor.3f9c2a1b4d5e6f708192.css",
            "index.3f9c2a1b.css",
            "chunks/0a1b2c3d4e5f6071.js",
            "_next/static/Xy3kLm9QpR2sTuVw/_buildManifest.js",
            "style_3f9c2a1b.css",
        ] {
            assert!(may_be(name) && is(name), "{name}");
        }
        // Too like words to be kept for a year on the name alone, but accepted where hashes are promised.
        for name in ["chunk-ABCDEFGH.js", "index-QwErtyui.js", "page-DatePicker.js"] {
            assert!(may_be(name), "{name}");
        }
        assert!(!is("page-DatePicker.js") && !is("README-TEMPLATE.js"));
    }

    #[test]
    fn ordinary_names_are_not_taken_for_hashed() {
        for name in [
            "app.js",
            "index.html",
            "jquery-3.7.1.min.js",
            "bootstrap-datepicker2.js",
            "my-component-v2.js",
            "report-20261125.js",
            "service-worker.js",
            "docs/getting-started.css",
            "a.configuration.js",
            "deep/folder-name/app.css",
        ] {
            assert!(!may_be(name) && !is(name), "{name}");
        }
    }
}
