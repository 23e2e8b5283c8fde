//! Texts as people write them: variables inside, secrets, sizes, durations, addresses.

use crate::draft::Draft;

/// A text with the variables of another format in it, as the stack writes them. Declares them.
///
/// Reads `$A`, `${A}`, `${A:-default}`, `${A-default}`, `${A:?message}`, `${A?message}`, `${A:+other}` and `$$`.
pub(crate) fn template(text: &str, draft: &mut Draft) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push_str(if after.starts_with('{') { "$$" } else { "$" });
            rest = after;
            continue;
        }
        let (name, default, after) =
            if let Some((inside, end)) = rest.strip_prefix('{').and_then(|inside| Some((inside, closing(inside)?))) {
                let (expression, after) = (&inside[..end], &inside[end + 1..]);
                let length = expression.find(|c: char| !is_name(c)).unwrap_or(expression.len());
                let (name, operator) = expression.split_at(length);
                let default = operator.strip_prefix(":-").or_else(|| operator.strip_prefix('-'));
                (name, default.map(str::to_owned), after)
            } else {
                let length = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
                (&rest[..length], None, &rest[length..])
            };
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || rest.len() == after.len() {
            out.push('$');
            continue;
        }
        let secret = is_secret_name(name);
        draft.variable(name, default.as_deref().filter(|default| !default.contains('$')), secret);
        out.push_str("${");
        out.push_str(name);
        out.push('}');
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A text that no variables are taken in, as the stack writes it.
pub(crate) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// Names of the variables in a text of another format.
pub(crate) fn names(text: &str) -> Vec<String> {
    let starts = text.match_indices('$').map(|(at, _)| text[at + 1..].trim_start_matches('{'));
    let names = starts.map(|rest| rest.split(|c: char| !is_name(c)).next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the brace closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// Whether a variable's name says that its value is nobody's business.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(['_', '-', '.']).collect();
    let secret = ["SECRET", "PASSWORD", "PASSWD", "PASS", "PWD", "TOKEN", "APIKEY", "PRIVATE", "CREDENTIALS", "DSN"];
    let public =
        ["PUBLIC", "FILE", "EXPIRES", "LENGTH", "TTL", "ID", "URL", "PATH", "NAME", "ALGORITHM", "PUBLISHABLE"];
    if words.iter().any(|word| public.contains(word)) {
        return false;
    }
    words.iter().any(|word| secret.contains(word)) || (words.last() == Some(&"KEY") && words.len() > 1)
}

/// Whether a value has the shape of a secret, whatever its name says.
pub(crate) fn is_secret(value: &str) -> bool {
    redactor().redact(value) != value
}

/// A text for people: without what has the shape of a secret.
pub(crate) fn shown(text: &str) -> String {
    redactor().redact(text).into_owned()
}

fn redactor() -> &'static secrets::redact::Redactor {
    static REDACTOR: std::sync::LazyLock<secrets::redact::Redactor> =
        std::sync::LazyLock::new(|| secrets::redact::Redactor::new([]));
    &REDACTOR
}

/// A size of another format (`512M`, `1g`, `512Mi`, `536870912`) as the stack writes it.
pub(crate) fn size(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => "",
        "k" | "kb" | "ki" | "kib" => "Ki",
        "m" | "mb" | "mi" | "mib" => "Mi",
        "g" | "gb" | "gi" | "gib" => "Gi",
        "t" | "tb" | "ti" | "tib" => "Ti",
        _ => return None,
    };
    let written = if number.fract() == 0.0 {
        format!("{number:.0}{unit}")
    } else {
        let smaller = match unit {
            "Ti" => "Gi",
            "Gi" => "Mi",
            "Mi" => "Ki",
            "Ki" => "",
            _ => return None,
        };
        format!("{:.0}{smaller}", number * 1024.0)
    };
    written.parse::<stack::ByteSize>().ok().map(|_| written)
}

/// CPUs of another format (`0.5`, `500m`, `2`) as the stack writes them.
pub(crate) fn cpu(text: &str) -> Option<String> {
    let text = text.trim();
    text.parse::<stack::Millicpu>().ok().map(|_| text.to_owned())
}

/// A duration of another format (`1m30s`, `10s`, `30`) as the stack writes it; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Option<String> {
    let text = text.trim();
    let text = if text.bytes().all(|b| b.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() };
    text.parse::<stack::Period>().ok().map(|_| text)
}

/// Seconds for visitors to finish and for the program to end, of the seconds there are: 30 and 10 when there are 40.
pub(crate) fn grace(whole: u64) -> (u64, u64) {
    let stop = if whole > 40 { whole - 30 } else { whole.min(10) };
    (whole - stop, stop)
}

/// The parts of an address that tell which server it leads to.
pub(crate) struct Address<'t> {
    pub(crate) scheme: &'t str,
    pub(crate) host: &'t str,
}

/// Scheme and host of a URL.
pub(crate) fn address(text: &str) -> Option<Address<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    // what stands in a variable's braces is no part of the address
    let (mut depth, mut end) = (0usize, rest.len());
    for (index, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' | '?' | '#' if depth == 0 => {
                end = index;
                break;
            }
            _ => {}
        }
    }
    let authority = &rest[..end];
    let host = authority.rsplit('@').next()?;
    let host = host.split(':').next()?;
    Some(Address { scheme, host })
}

/// The path of an HTTP check inside a command line, as in `curl -f http://localhost:4000/health || exit 1`.
pub(crate) fn checked_path(command: &str) -> Option<String> {
    let start = command.find("http://").or_else(|| command.find("https://"))?;
    let address = command[start..].split(|c: char| c.is_whitespace() || "\"'|;&)".contains(c)).next()?;
    let rest = address.split_once("://")?.1;
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    Some(path.split('?').next().unwrap_or("/").to_owned())
}

/// The port of an HTTP check inside a command line.
pub(crate) fn checked_port(command: &str) -> Option<u16> {
    let address = command.split("://").nth(1)?;
    let host = address.split(|c: char| c.is_whitespace() || "/\"'|;&)".contains(c)).next()?;
    host.rsplit_once(':')?.1.parse().ok()
}

/// Words of a command line joined so that a shell reads them again; one around it that only starts it is left out.
pub(crate) fn command(words: &[String]) -> String {
    if let [shell, flag, line] = words
        && ["sh", "/bin/sh"].contains(&shell.as_str())
        && flag == "-c"
        && let Some(line) = line.strip_prefix("exec ")
    {
        return line.to_owned();
    }
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// Whether a tag says nothing about the version.
pub(crate) fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// Name and major version of an image, as in `postgres` and `15`.
pub(crate) fn image(reference: &str) -> (&str, Option<String>) {
    let reference = reference.split('@').next().unwrap_or(reference);
    let last = reference.rsplit('/').next().unwrap_or(reference);
    let (name, tag) = last.split_once(':').unwrap_or((last, ""));
    let version: String = tag.trim_start_matches('v').chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let version = version.trim_matches('.').to_owned();
    (name, (!version.is_empty()).then_some(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_other_formats_become_variables_of_the_contract() {
        let mut draft = Draft::default();
        let text = template("a$A b${B} c${C:-see} d${D_TOKEN:?needed} e$$E f$${G} h$ $1 ${I:-${J}}", &mut draft);
        assert_eq!(text, "a${A} b${B} c${C} d${D_TOKEN} e$E f$${G} h$ $1 ${I}");
        let written = draft.write(&["x".to_owned()]);
        assert!(written.contains("A       = {}"), "{written}");
        assert!(written.contains("C       = { default = \"see\" }"), "{written}");
        assert!(written.contains("D_TOKEN = { secret = true }"), "{written}");
    }

    #[test]
    fn quantities_are_read_as_other_formats_write_them() {
        for (from, to) in
            [("512M", "512Mi"), ("1g", "1Gi"), ("1.5G", "1536Mi"), ("256mb", "256Mi"), ("1Gi", "1Gi"), ("100", "100")]
        {
            assert_eq!(size(from).as_deref(), Some(to), "{from}");
        }
        for bad in ["", "x", "-1M", "1X", "NaN"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        let host = |text| address(text).map(|address| address.host.to_owned());
        assert_eq!(host("postgres://u:${P:?set P in .env}@db:5432/x").as_deref(), Some("db"));
        assert_eq!(duration("1m30s").as_deref(), Some("1m30s"));
        assert_eq!(duration("30").as_deref(), Some("30s"));
        assert_eq!(checked_path("curl -f http://localhost:4000/health || exit 1").as_deref(), Some("/health"));
        assert_eq!(image("ghcr.io/x/postgres:15.3-alpine@sha256:1"), ("postgres", Some("15.3".to_owned())));
        assert!(
            is_latest("redis") && is_latest("a/b:latest") && !is_latest("redis:7") && !is_latest("localhost:5000/x:1")
        );
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in ["JWT_SECRET", "DB_PASSWORD", "API_KEY", "GITHUB_TOKEN", "STRIPE_SECRET_KEY"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["NODE_ENV", "PUBLIC_KEY", "JWT_EXPIRES_IN", "KEY", "API_URL", "TOKEN_TTL", "PASSWORD_FILE"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
