//! What to look at when a build command failed.

use crate::container;

/// An installer of dependencies: how it is called, how its failure reads, and which file says what to install.
struct Installer {
    /// Any of these in the command line.
    commands: &'static [&'static str],
    /// Any of these in the output.
    signs: &'static [&'static str],
    /// The manifest.
    manifest: &'static str,
    /// What to do with it.
    mend: &'static str,
}

const INSTALLERS: [Installer; 9] = [
    Installer {
        commands: &["npm ci", "npm install", "npm i", "npm clean-install"],
        signs: &["npm error code E", "npm ERR! code E", "ERESOLVE", "npm ci` can only install", "npm error network"],
        manifest: "package.json",
        mend: "compare the dependencies in it with package-lock.json (`npm install` writes the lock anew)",
    },
    Installer {
        commands: &["pnpm"],
        signs: &["ERR_PNPM_"],
        manifest: "package.json",
        mend: "compare the dependencies in it with pnpm-lock.yaml (`pnpm install` writes the lock anew)",
    },
    Installer {
        commands: &["yarn"],
        signs: &[
            "Couldn't find package",
            "Couldn't find any versions",
            "YN0027",
            "YN0028",
            "YN0035",
            "frozen-lockfile",
        ],
        manifest: "package.json",
        mend: "compare the dependencies in it with yarn.lock (`yarn install` writes the lock anew)",
    },
    Installer {
        commands: &["cargo"],
        signs: &[
            "no matching package",
            "failed to select a version",
            "failed to get `",
            "failed to parse manifest",
            "failed to load manifest for dependency",
            "could not find `Cargo.toml`",
            "failed to load source for dependency",
            "failed to download",
            "lock file needs to be updated",
        ],
        manifest: "Cargo.toml",
        mend: "check the names and versions of its dependencies and that Cargo.lock is committed",
    },
    Installer {
        commands: &["pip install", "pip3 install", "uv pip install", "uv sync"],
        signs: &[
            "No matching distribution",
            "Could not find a version",
            "ResolutionImpossible",
            "Could not open requirements file",
            "No solution found when resolving",
            "externally-managed-environment",
        ],
        manifest: "requirements.txt",
        mend: "check the names and versions in it (or in pyproject.toml), and install into a virtual environment",
    },
    Installer {
        commands: &["poetry"],
        signs: &["version solving failed", "Could not find a matching version", "pyproject.toml changed significantly"],
        manifest: "pyproject.toml",
        mend: "check its dependencies, then run `poetry lock`",
    },
    Installer {
        commands: &["composer"],
        signs: &["could not be resolved to an installable set", "could not be found in any version"],
        manifest: "composer.json",
        mend: "check its requirements, then run `composer update --lock`",
    },
    Installer {
        commands: &["bundle"],
        signs: &["Could not find gem", "Bundler could not find compatible versions", "Could not find compatible"],
        manifest: "Gemfile",
        mend: "check its gems, then run `bundle lock`",
    },
    Installer {
        commands: &["go "],
        signs: &["missing go.sum entry", "no required module provides", "unknown revision", "updates to go.mod needed"],
        manifest: "go.mod",
        mend: "check its requirements, then run `go mod tidy`",
    },
];

/// How to get a program, by its name.
const PROGRAMS: [(&[&str], &str); 9] = [
    (&["node", "npm", "npx"], "install Node.js (`apt-get install nodejs npm`, or from nodejs.org)"),
    (&["yarn", "pnpm"], "install it with `npm install --global yarn pnpm` or `corepack enable`"),
    (&["cargo", "rustc", "rustup"], "install Rust from rustup.rs"),
    (&["python", "python3", "pip", "pip3"], "install Python (`apt-get install python3 python3-venv python3-pip`)"),
    (&["uv", "poetry"], "install it with `pip install --user uv poetry`"),
    (&["make", "cc", "gcc", "g++"], "install a C toolchain (`apt-get install build-essential`)"),
    (&["go"], "install Go (`apt-get install golang`, or from go.dev)"),
    (&["composer", "php"], "install PHP (`apt-get install php-cli composer`)"),
    (&["bundle", "bundler", "ruby", "gem"], "install Ruby (`apt-get install ruby ruby-bundler`)"),
];

/// The hint for a command that ended with `code` after `output`; `folder` is relative to the stack file.
pub(crate) fn hint(command: &str, folder: &str, code: Option<i32>, output: &[String]) -> Option<String> {
    if code == Some(127)
        && let Some(program) = missing_program(output)
    {
        let named = PROGRAMS.iter().find(|(names, _)| names.contains(&program)).map(|(_, how)| *how);
        let how = named.unwrap_or("install it, or put its folder into PATH");
        return Some(format!("the program `{program}` is not on this machine: {how}"));
    }
    if command.starts_with("docker ") {
        return engine(command, output).map(str::to_owned);
    }
    let installer = INSTALLERS.iter().find(|installer| {
        installer.commands.iter().any(|words| command.contains(words))
            && output
                .iter()
                .any(|line| !line.contains("ELIFECYCLE") && installer.signs.iter().any(|sign| line.contains(sign)))
    })?;
    let Installer { manifest, mend, .. } = installer;
    let place =
        if folder == "." { (*manifest).to_owned() } else { format!("{}/{manifest}", folder.trim_end_matches('/')) };
    Some(format!("dependencies could not be installed: look at `{place}`: {mend}"))
}

/// What helps when the container engine itself failed, not a command of a Dockerfile.
fn engine(command: &str, output: &[String]) -> Option<&'static str> {
    /// What only the engine says.
    const SIGNS: [&str; 5] =
        ["Docker daemon", "pull access denied", "manifest unknown", "no matching manifest", "no space left"];
    let signs = |line: &&String| command.starts_with("docker pull ") || SIGNS.iter().any(|sign| line.contains(sign));
    output.iter().rev().filter(signs).find_map(|line| container::mend(line))
}

/// The program a shell did not find: `sh: 1: npm: not found`, `bash: line 1: npm: command not found`,
/// `env: 'node': No such file or directory`.
fn missing_program(output: &[String]) -> Option<&str> {
    output.iter().rev().find_map(|line| {
        let rest = line
            .strip_suffix(": command not found")
            .or_else(|| line.strip_suffix(": not found"))
            .or_else(|| line.strip_suffix(": No such file or directory"))?;
        let name = rest.rsplit(": ").next()?.trim_matches(['\'', '"', '\u{2018}', '\u{2019}']);
        (!name.is_empty() && !name.contains(' ')).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    // proves S4.E2
    #[test]
    fn an_install_that_fails_names_the_manifest() {
        for (command, output, manifest) in [
            ("npm ci && npm run build", "npm error code ERESOLVE\nnpm error could not resolve", "web/package.json"),
            ("npm ci", "npm ERR! code E404\nnpm ERR! 404 Not Found", "web/package.json"),
            ("cargo build --release", "error: no matching package named `sered` found", "web/Cargo.toml"),
            (
                "pip install -r requirements.txt",
                "ERROR: No matching distribution found for flsk",
                "web/requirements.txt",
            ),
        ] {
            let hint = hint(command, "web", Some(1), &lines(output)).unwrap();
            assert!(hint.contains(manifest), "{hint}");
        }
    }

    #[test]
    fn an_engine_that_fails_is_told_from_a_dockerfile_that_fails() {
        let denied = "Error response from daemon: pull access denied for a/b, repository does not exist";
        assert!(hint("docker pull a/b", ".", Some(1), &lines(denied)).unwrap().contains("docker login"));
        assert!(hint("docker build .", ".", Some(1), &lines(denied)).unwrap().contains("docker login"));
        assert_eq!(hint("docker build .", ".", Some(1), &lines("/bin/sh: npm: not found\nreturned 127")), None);
    }

    #[test]
    fn an_ordinary_failure_does_not_blame_the_manifest() {
        assert_eq!(
            hint("npm ci && npm run build", ".", Some(1), &lines("npm ERR! code ELIFECYCLE\nsyntax error")),
            None
        );
        assert_eq!(hint("cargo build", ".", Some(101), &lines("error[E0308]: mismatched types")), None);
    }

    #[test]
    fn a_missing_program_is_named_with_the_way_to_get_it() {
        for output in ["sh: 1: npm: not found", "bash: line 1: npm: command not found", "/bin/sh: npm: not found"] {
            let hint = hint("npm ci", ".", Some(127), &lines(output)).unwrap();
            assert!(hint.contains("`npm` is not on this machine") && hint.contains("nodejs"), "{hint}");
        }
        let hint = hint("x", ".", Some(127), &lines("env: \u{2018}frob\u{2019}: No such file or directory")).unwrap();
        assert!(hint.contains("`frob`") && hint.ends_with("PATH"), "{hint}");
    }
}
