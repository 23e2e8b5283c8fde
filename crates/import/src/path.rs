//! Paths inside what is imported.

/// `path` as seen from `folder`, both relative to what is imported; `.` is its top. `None` when it leads out of it, is
/// absolute, an address, or not known before something runs.
pub(crate) fn inside(folder: &str, path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains("://") || path.contains('$') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The folder a file is in; `.` at the top.
pub(crate) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (from, path, to) in [
            (".", "./web", Some("web")),
            (".", ".", Some(".")),
            ("deploy/compose", "../..", Some(".")),
            ("deploy", "../web/", Some("web")),
            (".", "..", None),
            ("a", "../../b", None),
            (".", "/srv", None),
            (".", "https://example.com/x.git", None),
            (".", "${HERE}", None),
        ] {
            assert_eq!(inside(from, path).as_deref(), to, "{path} from {from}");
        }
        assert_eq!((folder("a/b/c.yaml"), folder("c.yaml")), ("a/b", "."));
    }
}
