//! Scripts and styles of a site that promises hashed, minified bundles (S4.P12).

/// Smaller files pass: there is too little to judge, and too little to win.
const SMALL: usize = 1024;

/// Minifiers write lines longer than this; people do not.
const LONG_LINE: usize = 200;

/// Files that browsers look for under a fixed name, which therefore cannot carry a hash.
const FIXED_NAMES: [&str; 8] = [
    "sw.js",
    "service-worker.js",
    "serviceworker.js",
    "firebase-messaging-sw.js",
    "ngsw-worker.js",
    "safety-worker.js",
    "registersw.js",
    "onesignalsdkworker.js",
];

/// Whether the file is a script or a style.
pub(crate) fn is_bundle(path: &str) -> bool {
    [".js", ".mjs", ".cjs", ".css"].iter().any(|end| path.ends_with(end))
}

/// Whether the file is an HTML page.
pub(crate) fn is_page(path: &str) -> bool {
    [".html", ".htm"].iter().any(|end| path.ends_with(end))
}

/// Whether the file must keep its name.
pub(crate) fn has_fixed_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    FIXED_NAMES.contains(&name.as_str())
}

/// Why a script or style is not minified; `None` when it is, or is too small to tell.
///
/// A minified file lies mostly in long lines: what remains in short ones are templates and shaders inside of strings.
pub(crate) fn not_minified(text: &[u8]) -> Option<String> {
    let body = without_banner(text);
    if body.len() < SMALL {
        return None;
    }
    let (mut lines, mut long, mut indentation) = (0_usize, 0_usize, 0_usize);
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        lines += 1;
        if line.len() > LONG_LINE {
            long += line.len();
        }
        indentation += line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    }
    let percent = |part: usize| part * 100 / body.len();
    if percent(long) >= 50 && (percent(long) >= 80 || !has_long_comment(body)) {
        return None;
    }
    let comment = if has_long_comment(body) { ", and it has comments of several lines" } else { "" };
    let average = body.len() / lines.max(1);
    Some(format!(
        "{lines} lines of {average} characters on average, {} % of it indentation{comment}",
        percent(indentation)
    ))
}

/// The text without leading comments and white space: a licence may stay.
fn without_banner(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let end = if text.starts_with(b"/*") {
            find(text, b"*/").map(|at| at + 2)
        } else if text.starts_with(b"//") {
            find(text, b"\n").map(|at| at + 1)
        } else {
            None
        };
        match end {
            Some(end) => text = &text[end..],
            None => return text,
        }
    }
}

/// Whether there is a comment over several lines that is no licence.
fn has_long_comment(mut text: &[u8]) -> bool {
    while let Some(start) = find(text, b"/*") {
        let rest = &text[start..];
        let Some(end) = find(rest, b"*/") else { return false };
        let comment = &rest[..end];
        let licence = comment.starts_with(b"/*!")
            || [&b"@license"[..], b"@preserve", b"Copyright"].iter().any(|word| find(comment, word).is_some());
        if comment.contains(&b'\n') && !licence {
            return true;
        }
        text = &rest[end + 2..];
    }
    false
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Scripts and styles an HTML page loads from its own site, as paths from the site's root. `page` is the page's path.
pub(crate) fn references(page: &str, html: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let tag = &rest[..rest.find('>').unwrap_or(rest.len())];
        let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        let url = match name.to_ascii_lowercase().as_str() {
            "script" => attribute(tag, "src"),
            "link" if attribute(tag, "rel").is_some_and(|rel| rel.contains("stylesheet") || rel == "modulepreload") => {
                attribute(tag, "href")
            }
            _ => None,
        };
        found.extend(url.and_then(|url| local_path(page, url)));
    }
    found
}

/// The value of an attribute within a tag's text.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        let at = rest.to_ascii_lowercase().find(name)?;
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].trim_start();
        if before.is_some_and(char::is_whitespace)
            && let Some(value) = after.strip_prefix('=')
        {
            let value = value.trim_start();
            return match value.chars().next()? {
                quote @ ('"' | '\'') => value[1..].split(quote).next(),
                _ => value.split(char::is_whitespace).next(),
            };
        }
        rest = &rest[at + name.len()..];
    }
}

/// The path from the site's root, of a reference to the same site; `None` for others.
fn local_path(page: &str, url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    if path.is_empty() || path.starts_with("//") || path.contains(':') || path.contains("{{") {
        return None;
    }
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let from_root = path.strip_prefix('/');
    crate::scan::normalise(&from_root.map_or_else(|| format!("./{folder}/{path}"), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minified_and_readable_scripts_are_told_apart() {
        let minified = format!("/*! MIT\n * licence\n */\n{}", "var a=function(b){return b+1};".repeat(100));
        assert_eq!(not_minified(minified.as_bytes()), None);
        let readable = "function add(a, b) {\n    // adds\n    return a + b;\n}\n\n".repeat(40);
        let reason = not_minified(readable.as_bytes()).unwrap();
        assert!(reason.contains("% of it indentation"), "{reason}");
        assert_eq!(not_minified(b"body {\n  margin: 0;\n}\n"), None);
        let templates = format!("{}`\n  <p>\n  hello\n`", "x.y(1);".repeat(300));
        assert_eq!(not_minified(templates.as_bytes()), None);
    }

    #[test]
    fn references_are_found_as_paths_from_the_root() {
        let html = r#"<!doctype html><!-- <script src="no.js"> -->
            <link rel="icon" href="i.png"><link rel="stylesheet" crossorigin href="/assets/a.css?x=1">
            <SCRIPT type=module src=./b.js></SCRIPT><script data-src="c.js"></script>
            <script src="https://cdn.example/x.js"></script><script src="//cdn/x.js"></script>
            <link href='../d.js' rel='modulepreload'>"#;
        assert_eq!(references("sub/index.html", html), ["assets/a.css", "sub/b.js", "d.js"]);
    }
}
