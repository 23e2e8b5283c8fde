//! Two real programs, each before and after a change of one line.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::fault::{Doing, Fault};

/// How they are built: as Cargo does by itself, with what names the lines in a backtrace.
const PROFILE: &str = "[profile.release]\nlto = \"off\"\ndebug = \"line-tables-only\"\n";

/// A program, and what one line makes of it.
#[derive(Debug)]
pub(crate) struct Program {
    /// In what form it is shipped.
    pub(crate) kind: &'static str,
    /// Share that may travel, in percent.
    pub(crate) limit: f64,
    pub(crate) old: PathBuf,
    /// What was changed, and the program after it.
    pub(crate) changed: Vec<(&'static str, PathBuf)>,
}

/// A program of the examples, and where one line of it is changed.
struct Source {
    package: &'static str,
    file: &'static str,
    stripped: bool,
    edits: [Edit; 2],
}

struct Edit {
    name: &'static str,
    what: &'static str,
    from: &'static str,
    to: &'static str,
}

const SOURCES: [Source; 2] = [
    Source {
        package: "stand-in",
        file: "src/jobsprint.rs",
        stripped: true,
        edits: [
            Edit {
                name: "text",
                what: "another text in a message",
                from: "give the job a title\"",
                to: "give the job a title of one line, please\"",
            },
            Edit {
                name: "code",
                what: "a line of code more",
                from: "            let statement = \"insert into jobs",
                to: "            if title.chars().filter(|letter| letter.is_uppercase()).count() > 40 { return Err(Trouble::bad(\"do not shout\")); }\n            let statement = \"insert into jobs",
            },
        ],
    },
    Source {
        package: "quickstart",
        file: "src/entries.rs",
        stripped: false,
        edits: [
            Edit {
                name: "text",
                what: "another text in a message",
                from: "a ship's name and a port have at most 80 characters",
                to: "neither the name of a ship nor that of a port has more than 80 characters",
            },
            Edit {
                name: "code",
                what: "a line of code more",
                from: "        if entry.note.chars().count() > 2000 {",
                to: "        if entry.vessel.starts_with('!') { return bad(\"a ship has a name that begins with a letter\"); }\n        if entry.note.chars().count() > 2000 {",
            },
        ],
    },
];

/// The folder of what was built.
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Those that were built by an earlier run, or new ones: that takes minutes.
    pub(crate) fn find_or_build() -> Result<Self, Fault> {
        let own = std::env::current_exe().doing("cannot find this program")?;
        let target = own.parent().and_then(Path::parent).ok_or_else(|| Fault::new("no target folder"))?;
        let programs = Self(target.join("bench-ship"));
        let built = |source: &Source| source.names().iter().all(|name| programs.0.join(name).is_file());
        if !SOURCES.iter().all(built) {
            fs::create_dir_all(&programs.0).doing(programs.0.display())?;
            let work = programs.copy()?;
            for source in &SOURCES {
                programs.build(&work, source)?;
            }
        }
        Ok(programs)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Program> {
        SOURCES.iter().map(|source| self.program(source)).collect()
    }

    fn program(&self, source: &Source) -> Program {
        let [old, changed @ ..] = source.names().map(|name| self.0.join(name));
        let changed = source.edits.iter().map(|edit| edit.what).zip(changed).collect();
        let (kind, limit) = if source.stripped { ("stripped", 6.0) } else { ("with debug lines", 10.0) };
        Program { kind, limit, old, changed }
    }

    /// A workspace of the examples alone.
    fn copy(&self) -> Result<PathBuf, Fault> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let work = self.0.join("work");
        fs::create_dir_all(&work).doing(work.display())?;
        let packages = SOURCES.map(|source| source.package);
        let examples = packages.map(|package| root.join("examples").join(package));
        run(Command::new("cp").arg("-r").args(examples).arg(root.join("Cargo.lock")).arg(&work))?;
        let manifest = fs::read_to_string(root.join("Cargo.toml")).doing("Cargo.toml")?;
        let manifest = manifest.split("[profile.").next().unwrap_or_default();
        let alone = |line: &str| match line {
            line if line.starts_with("members = ") => Some(format!("members = {packages:?}\n")),
            line if line.starts_with("default-members") => None,
            line => Some(format!("{line}\n")),
        };
        let manifest: String = manifest.lines().filter_map(alone).collect();
        fs::write(work.join("Cargo.toml"), manifest + PROFILE).doing("Cargo.toml")?;
        Ok(work)
    }

    fn build(&self, work: &Path, source: &Source) -> Result<(), Fault> {
        let file = work.join(source.package).join(source.file);
        let text = fs::read_to_string(&file).doing(file.display())?;
        let [old, changed @ ..] = source.names();
        self.compile(work, source, &old)?;
        for (edit, name) in source.edits.iter().zip(&changed) {
            if !text.contains(edit.from) {
                return Err(Fault::new(format!("{} has another text than this benchmark knows", file.display())));
            }
            fs::write(&file, text.replacen(edit.from, edit.to, 1)).doing(file.display())?;
            self.compile(work, source, name)?;
        }
        Ok(())
    }

    fn compile(&self, work: &Path, source: &Source, name: &str) -> Result<(), Fault> {
        eprintln!("builds a program for `ship`: {name}");
        let target = self.0.join("target");
        run(Command::new("cargo")
            .args(["build", "--release", "--bin", source.package])
            .current_dir(work)
            // of the C code it contains nobody wants a backtrace
            .env("CFLAGS", "-g0")
            .env("CARGO_TARGET_DIR", &target))?;
        let (built, to) = (target.join("release").join(source.package), self.0.join(name));
        if source.stripped {
            return run(Command::new("strip").arg("-o").arg(&to).arg(&built));
        }
        fs::copy(&built, &to).doing(name).map(drop)
    }
}

impl Source {
    /// What the files are called: before, and after each edit.
    fn names(&self) -> [String; 3] {
        let [one, two] = &self.edits;
        ["old", one.name, two.name].map(|name| format!("{}.{name}", self.package))
    }
}

fn run(command: &mut Command) -> Result<(), Fault> {
    let status = command.status().doing(format_args!("{} does not start", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(Fault::new(format!("{command:?} ended with {status}"))) }
}
