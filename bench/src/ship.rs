//! What travels when one line of a program changed, beside `rsync -z`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use agent::{home::Home, protocol::Scope};
use fleet::Place;
use release::{BuildOptions, Store};
use stack::ReleaseId;
use stories::Fleet;

use crate::{
    Arguments,
    fault::{Doing, Fault},
    machines,
    peers::find,
    programs::Programs,
    row::{Row, median},
};

/// Hosts that are sent to.
const HOSTS: u32 = 3;

/// The argument that makes this program send one release instead; see [`send`].
pub(crate) const SEND: &str = "send-one-release";

/// A redeploy of two programs, each changed in two ways, to three hosts over SSH.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let programs = Programs::find_or_build()?;
    let fleet = machines::start(HOSTS)?;
    machines::install(&fleet.hosts, &find("rsync")?)?;
    let mut rows = Vec::new();
    for program in programs.all() {
        for (change, new) in &program.changed {
            let (mut ours, mut theirs) = (Sample::default(), Sample::default());
            for _ in 0..arguments.rounds.min(3) {
                ours.add(slipway(&fleet, &program.old, new)?);
                theirs.add(rsync(&fleet, &program.old, new)?);
            }
            let size = megabytes(fs::metadata(new).doing(new.display())?.len());
            let label = |what: &str| format!("{change}, {size:.1} MB {}, to {HOSTS} hosts: {what}", program.kind);
            let (bytes, their_bytes) = (median(ours.kilobytes), median(theirs.kilobytes));
            let share = bytes / f64::from(HOSTS) / size / 10.0;
            rows.push(Row::limit(&label("share that travels"), share, "%", program.limit));
            rows.push(Row::peer(&label("bytes"), bytes, "kB", "rsync -z", their_bytes, Some(1.0)));
            rows.push(Row::peer(
                &label("time"),
                median(ours.millis),
                "ms",
                "rsync -z",
                median(theirs.millis),
                Some(1.0),
            ));
        }
    }
    Ok(rows)
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

/// From the release in this machine's store until it is in that of every host, verified and durable: a process of its own
/// that begins by connecting, as `rsync` does.
fn slipway(fleet: &Fleet, old: &Path, new: &Path) -> Result<(u64, f64), Fault> {
    // a name of its own, so that the hosts have the old release alone
    let app = format!("ship-{:08x}", rand::random::<u32>());
    let releases = [release(fleet, &app, old)?, release(fleet, &app, new)?];
    let mut last = (0, 0.0);
    for release in releases {
        let mut command = Command::new(std::env::current_exe().doing("cannot find this program")?);
        command.arg(SEND).arg(fleet.story.home()).arg(&app).arg(release.as_str());
        command.args((0..fleet.hosts.count()).map(|index| fleet.hosts.destination(index)));
        fleet.hosts.reach(&mut command);
        // what was written before is not waited for
        rustix::fs::sync();
        let begun = Instant::now();
        let output = command.stderr(Stdio::inherit()).output().doing("this program does not start")?;
        let took = begun.elapsed();
        let bytes = String::from_utf8_lossy(&output.stdout).trim().parse();
        last = (bytes.doing("a release was not sent")?, took.as_secs_f64() * 1000.0);
    }
    Ok(last)
}

/// Sends a release of an app from a home's store to hosts that lack it, and prints the bytes: home, app, release, hosts.
pub(crate) fn send(arguments: &[String]) -> Result<(), Fault> {
    let [home, app, release, hosts @ ..] = arguments else {
        return Err(Fault::new("expected a home, an app, a release and hosts"));
    };
    let scope = Scope { app: app.parse().doing("app")?, environment: "live".parse().doing("environment")? };
    let places = hosts.iter().cloned().map(Place::Ssh).collect();
    let fleet = fleet::Fleet::of_hosts(Home::at(home), scope, places);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().doing("no runtime")?;
    let release = ReleaseId::new(release.as_str()).doing("release")?;
    let sent = runtime.block_on(fleet.send(&release)).doing("not sent")?;
    if sent.len() != hosts.len() {
        return Err(Fault::new(format!("{} of {} hosts answered", sent.len(), hosts.len())));
    }
    println!("{}", sent.iter().map(|sent| sent.bytes).sum::<u64>());
    Ok(())
}

/// Builds a release that holds one program.
fn release(fleet: &Fleet, app: &str, program: &Path) -> Result<ReleaseId, Fault> {
    let project = fleet.story.project().join(app);
    fs::create_dir_all(&project).doing("no project folder")?;
    fs::copy(program, project.join("program")).doing(program.display())?;
    let text = format!(
        "app = \"{app}\"\n[service.web]\ndir = \".\"\nout = [\"program\"]\nrun = \"./program\"\n\
         [environment.live]\ntarget = \"hosts\"\nhosts = [{}]\ndata = \"seed\"\n",
        fleet.hosts.listed()
    );
    let environment = "live".parse().doing("environment")?;
    let resolved =
        stack::resolve("slipway.toml", &text, &environment).map_err(|problems| Fault::new(problems.to_string()))?;
    let store = Store::open(Home::at(fleet.story.home()).store()).doing("no store")?;
    let built = release::build(&resolved, &text, &project, &store, &BuildOptions::default(), &mut |_| {});
    Ok(built.doing("no release")?.record.release)
}

/// `rsync -z` of the same file over the same one to the same hosts, all at the same time, as a person would write it in a
/// script, with what makes it durable there.
fn rsync(fleet: &Fleet, old: &Path, new: &Path) -> Result<(u64, f64), Fault> {
    for index in 0..fleet.hosts.count() {
        let place = fleet.hosts.root(index).join("home/deploy/program");
        fs::copy(old, &place).doing(place.display())?;
        fleet.hosts.run(index, "chown deploy: /home/deploy/program");
    }
    rustix::fs::sync();
    let begun = Instant::now();
    let started: Result<Vec<_>, Fault> = (0..fleet.hosts.count())
        .map(|index| {
            let mut command = Command::new("rsync");
            command.args(["-z", "--fsync", "--stats"]).arg(new);
            command.arg(format!("{}:program", fleet.hosts.destination(index)));
            fleet.hosts.reach(&mut command);
            command.stdout(Stdio::piped()).spawn().doing("rsync does not start; apt-get install rsync")
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
