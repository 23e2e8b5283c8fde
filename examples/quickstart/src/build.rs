//! The build: this program where the stack expects it, and the site with a hash of the content in each name.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use crate::minify;

/// Copies this program to `to`, without the symbols that only a debugger reads: a release is smaller by four fifths.
///
/// It copies itself because only Cargo knows for certain where it has put the program.
pub(crate) fn pack(to: &Path) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot write {}: {error}", to.display());
    let this = std::env::current_exe().map_err(cannot)?;
    fs::create_dir_all(to.parent().unwrap_or(Path::new("."))).map_err(cannot)?;
    let part = to.with_extension("part");
    let stripped = Command::new("strip").arg("-o").arg(&part).arg(&this).stderr(Stdio::null()).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(&this, &part).map_err(cannot)?;
    }
    fs::rename(&part, to).map_err(cannot)
}

/// Makes the site in `to` from the sources in `from`, which are `index.html` and the files it names.
pub(crate) fn site(from: &Path, to: &Path) -> Result<(), String> {
    let read = |name: &str| {
        let path = from.join(name);
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let assets = BTreeMap::from([
        ("app.css", minify::style(&read("app.css")?)),
        ("app.js", minify::script(&read("app.js")?)),
        ("icon.svg", read("icon.svg")?),
    ]);
    let index = read("index.html")?;
    let cannot = |error: io::Error| format!("cannot write {}: {error}", to.display());
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => fs::create_dir_all(to.join("assets")).map_err(cannot)?,
    }
    let mut page = index;
    for (name, content) in assets {
        let hashed = hashed(name, content.as_bytes());
        let reference = format!("\"/{name}\"");
        if !page.contains(&reference) {
            return Err(format!("index.html does not name {reference}"));
        }
        page = page.replace(&reference, &format!("\"/assets/{hashed}\""));
        fs::write(to.join("assets").join(hashed), content).map_err(cannot)?;
    }
    fs::write(to.join("index.html"), page).map_err(cannot)
}

/// `app.css` with the first sixteen digits of the content's digest: `app.3f9c2a1b3f9c2a1b.css`.
fn hashed(name: &str, content: &[u8]) -> String {
    let digest = blake3::hash(content).to_hex();
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{}.{extension}", &digest[..16]),
        None => format!("{name}.{}", &digest[..16]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_changed_file_gets_another_name_and_the_page_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("site"), folder.path().join("dist"));
        fs::create_dir(&from).unwrap();
        let write = |name: &str, text: &str| fs::write(from.join(name), text).unwrap();
        write("index.html", "<link href=\"/app.css\"><script src=\"/app.js\"></script><link href=\"/icon.svg\">");
        write("app.css", "a { color: red; }");
        write("app.js", "f();");
        write("icon.svg", "<svg/>");
        site(&from, &to).unwrap();
        let before = names(&to.join("assets"));
        write("app.css", "a { color: blue; }");
        site(&from, &to).unwrap();
        let after = names(&to.join("assets"));
        assert_eq!((before.len(), after.len()), (3, 3));
        let renamed: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
        assert!(renamed.len() == 1 && renamed[0].split('.').next_back() == Some("css"), "{before:?} {after:?}");
        let page = fs::read_to_string(to.join("index.html")).unwrap();
        assert!(after.iter().all(|name| page.contains(&format!("\"/assets/{name}\""))), "{page}");
        write("index.html", "nothing");
        assert!(site(&from, &to).unwrap_err().contains("does not name"));
    }

    #[test]
    fn this_site_builds() {
        let to = tempfile::tempdir().unwrap();
        site(&Path::new(env!("CARGO_MANIFEST_DIR")).join("site"), &to.path().join("dist")).unwrap();
    }
}
