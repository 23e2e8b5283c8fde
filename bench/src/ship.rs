//! What travels when one line of a program changed, beside `rsync -z`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    Arguments,
    fault::{Doing, Fault},
    hosts::Hosts,
    row::{Row, median},
};

/// Hosts that are sent to.
const HOSTS: u8 = 3;

/// The line that is added, and the one it is added before.
const BEFORE: &str = "        if entry.note.chars().count() > 2000 {";
const ADDED: &str =
    "        if entry.vessel.starts_with('!') { return bad(\"a ship has a name that begins with a letter\"); }\n";

/// A redeploy of the quickstart's program, stripped and not, to three hosts.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let programs = Programs::find_or_build()?;
    let mut rows = Vec::new();
    for (name, old, new, limit) in
        [("stripped", "old.stripped", "new.stripped", 6.0), ("with debug lines", "old", "new", 10.0)]
    {
        rows.extend(redeploy(arguments, name, &programs.0.join(old), &programs.0.join(new), limit)?);
    }
    Ok(rows)
}

fn redeploy(arguments: &Arguments, name: &str, old: &Path, new: &Path, limit: f64) -> Result<Vec<Row>, Fault> {
    let (mut ours, mut theirs) = (Sample::default(), Sample::default());
    for _ in 0..arguments.rounds.min(3) {
        ours.add(slipway(old, new)?);
        theirs.add(rsync(old, new)?);
    }
    let size = megabytes(fs::metadata(new).doing(new.display())?.len()) * 1000.0;
    let label = |what: &str| format!("one line of {:.1} MB {name}, to {HOSTS} hosts: {what}", size / 1000.0);
    let (bytes, their_bytes) = (median(ours.kilobytes), median(theirs.kilobytes));
    Ok(vec![
        Row::limit(&label("share that travels"), bytes / f64::from(HOSTS) * 100.0 / size, "%", limit),
        Row::peer(&label("bytes"), bytes, "kB", "rsync -z", their_bytes, Some(1.0)),
        Row::peer(&label("time"), median(ours.millis), "ms", "rsync -z", median(theirs.millis), Some(1.0)),
    ])
}

#[derive(Debug, Default)]
struct Sample {
    kilobytes: Vec<f64>,
    millis: Vec<f64>,
}

impl Sample {
    fn add(&mut self, (bytes, millis): (u64, f64)) {
        self.kilobytes.push(megabytes(bytes) * 1000.0);
        self.millis.push(millis);
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// From the release in this machine's store until it is in that of every host, verified and durable.
fn slipway(old: &Path, new: &Path) -> Result<(u64, f64), Fault> {
    let hosts = Hosts::start(HOSTS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("no runtime")?;
    let first = hosts.release(old)?;
    runtime.block_on(hosts.fleet()?.send(&first.release)).doing("the first release")?;
    let second = hosts.release(new)?;
    let fleet = hosts.fleet()?;
    let begun = Instant::now();
    let sent = runtime.block_on(fleet.send(&second.release)).doing("the second release")?;
    let took = begun.elapsed();
    Ok((sent.iter().map(|sent| sent.bytes).sum(), took.as_secs_f64() * 1000.0))
}

/// `rsync` of the same file to as many folders at the same time, by its own difference algorithm.
fn rsync(old: &Path, new: &Path) -> Result<(u64, f64), Fault> {
    let folder = tempfile::tempdir().doing("no temporary folder")?;
    let places: Vec<PathBuf> = (0..HOSTS).map(|number| folder.path().join(number.to_string())).collect();
    for place in &places {
        fs::create_dir(place).doing(place.display())?;
        fs::copy(old, place.join("harbour")).doing(place.display())?;
    }
    let begun = Instant::now();
    let started: Result<Vec<_>, Fault> = places
        .iter()
        .map(|place| {
            Command::new("rsync")
                .args(["-z", "--no-whole-file", "--ignore-times", "--fsync", "--stats"])
                .arg(new)
                .arg(place.join("harbour"))
                .stdout(Stdio::piped())
                .spawn()
                .doing("rsync does not start; apt-get install rsync")
        })
        .collect();
    let mut bytes = 0;
    for child in started? {
        let output = child.wait_with_output().doing("rsync does not end")?;
        if !output.status.success() {
            return Err(Fault::new(format!("rsync ended with {}", output.status)));
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let sent = said.lines().find_map(|line| line.strip_prefix("Total bytes sent: "));
        let sent = sent.and_then(|number| number.replace(',', "").trim().parse::<u64>().ok());
        bytes += sent.ok_or_else(|| Fault::new(format!("rsync does not tell what it sent: {said}")))?;
    }
    Ok((bytes, begun.elapsed().as_secs_f64() * 1000.0))
}

/// The quickstart's program before and after the change, with its debug lines and stripped.
struct Programs(PathBuf);

impl Programs {
    /// Those that were built by an earlier run, or new ones: that takes minutes.
    fn find_or_build() -> Result<Self, Fault> {
        let own = std::env::current_exe().doing("cannot find this program")?;
        let target = own.parent().and_then(Path::parent).ok_or_else(|| Fault::new("no target folder"))?;
        let folder = target.join("bench-ship");
        let programs = Self(folder.clone());
        if !folder.join("new.stripped").is_file() {
            fs::create_dir_all(&folder).doing(folder.display())?;
            programs.build()?;
        }
        Ok(programs)
    }

    fn build(&self) -> Result<(), Fault> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let work = self.0.join("work");
        fs::create_dir_all(&work).doing(work.display())?;
        run(Command::new("cp")
            .arg("-r")
            .arg(root.join("examples/quickstart"))
            .arg(root.join("Cargo.lock"))
            .arg(&work))?;
        let manifest = fs::read_to_string(root.join("Cargo.toml")).doing("Cargo.toml")?;
        let alone = |line: &str| match line {
            line if line.starts_with("members = ") => Some("members = [\"quickstart\"]\n".to_owned()),
            line if line.starts_with("default-members") => None,
            line => Some(format!("{line}\n")),
        };
        let manifest: String = manifest.lines().filter_map(alone).collect();
        fs::write(work.join("Cargo.toml"), manifest).doing("Cargo.toml")?;
        let source = work.join("quickstart/src/entries.rs");
        let text = fs::read_to_string(&source).doing(source.display())?;
        if !text.contains(BEFORE) {
            return Err(Fault::new(format!("{} has another text than this benchmark knows", source.display())));
        }
        self.compile(&work, "old")?;
        fs::write(&source, text.replace(BEFORE, &format!("{ADDED}{BEFORE}"))).doing(source.display())?;
        self.compile(&work, "new")
    }

    fn compile(&self, work: &Path, name: &str) -> Result<(), Fault> {
        eprintln!("builds the program for `ship`: {name}");
        let target = self.0.join("target");
        run(Command::new("cargo")
            .args(["build", "--release", "--bin", "quickstart"])
            .current_dir(work)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only"))?;
        fs::copy(target.join("release/quickstart"), self.0.join(name)).doing(name)?;
        run(Command::new("strip").arg("-o").arg(self.0.join(format!("{name}.stripped"))).arg(self.0.join(name)))
    }
}

fn run(command: &mut Command) -> Result<(), Fault> {
    let status = command.status().doing(format_args!("{} does not start", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(Fault::new(format!("{command:?} ended with {status}"))) }
}
