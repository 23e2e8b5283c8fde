//! `slipway import` never writes over a file without being told to: what is there stays as it is, byte by byte.

use std::{fs, path::Path, process::Command};

const COMPOSE: &str = "services:\n  web:\n    image: example/web:1\n    ports: ['80:8080']\n";
const OWN: &str = "# mine\napp = \"mine\"\n";

/// Runs `slipway import` in a folder: exit code, standard output, standard error.
fn import(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_slipway"))
        .arg("import")
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Names and contents of everything in a folder.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("readable")))
        .collect();
    found.sort();
    found
}

#[test]
fn what_is_there_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("compose.yaml"), COMPOSE).expect("written");
    fs::write(folder.join("slipway.toml"), OWN).expect("written");
    let before = contents(folder);
    let (code, _, said) = import(folder, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("slipway.toml is there already") && said.contains("--force"), "{said}");
    assert_eq!(contents(folder), before, "nothing was written");

    // nor over any other file that is named, a link or what a link leads to
    for name in ["other.toml", "link.toml"] {
        if name == "other.toml" {
            fs::write(folder.join(name), OWN).expect("written");
        } else {
            std::os::unix::fs::symlink("other.toml", folder.join(name)).expect("linked");
        }
        let before = contents(folder);
        let (code, _, said) = import(folder, &["--out", name]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("is there already"), "{said}");
        assert_eq!(contents(folder), before, "{name} was written over");
    }

    // looking writes nothing at all
    let before = contents(folder);
    let (code, printed, said) = import(folder, &["--print"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("[service.web]"), "{printed}");
    let (code, printed, said) = import(folder, &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("\"report\""), "{printed}");
    assert_eq!(contents(folder), before, "a look wrote something");
}

#[test]
fn it_writes_where_nothing_is_and_over_what_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("compose.yaml"), COMPOSE).expect("written");
    let (code, _, said) = import(folder, &[]);
    assert_eq!(code, Some(0), "{said}");
    let written = fs::read_to_string(folder.join("slipway.toml")).expect("written");
    assert!(written.contains("[service.web]"), "{written}");
    // its own file counts like anybody's
    assert_eq!(import(folder, &[]).0, Some(2));
    fs::write(folder.join("slipway.toml"), OWN).expect("written");
    let (code, _, said) = import(folder, &["--force"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_to_string(folder.join("slipway.toml")).expect("there"), written);
}

#[test]
fn a_file_that_cannot_be_read_leaves_no_half_of_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("compose.yaml"), "services: [").expect("written");
    fs::write(folder.join("slipway.toml"), OWN).expect("written");
    let before = contents(folder);
    for arguments in [&[][..], &["--force"]] {
        let (code, _, said) = import(folder, arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("compose.yaml"), "{said}");
        assert_eq!(contents(folder), before);
    }
}
