//! PostgreSQL.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Definition, book::Entry, install, server::Work};
use crate::{error::Error, files, shim::HANDED_FOLDER};

/// The folder of the data inside the server's folder.
const CLUSTER: &str = "cluster";

/// The settings Slipway writes.
const CONFIG: &str = "slipway.conf";

/// Who may come in, when other hosts may.
const HBA: &str = "pg_hba.conf";

/// The superuser.
const ADMIN: &str = "postgres";

/// How long a server that is well takes to answer at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// Settings that say where a server is and who may come in.
const OURS: [&str; 12] = [
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "log_destination",
    "logging_collector",
    "password_encryption",
    "port",
    "unix_socket_directories",
    "unix_socket_permissions",
];

/// The folder with the programs of a major version.
pub(super) async fn find_programs(major: &str) -> Result<PathBuf, Error> {
    let mut installed = installed();
    if !installed.contains_key(major)
        && let Some(program) = install::in_path("postgres")
        && let (Some(version), Some(folder)) = (install::version(&program, "(PostgreSQL) ").await, program.parent())
    {
        let found = version.split('.').next().unwrap_or(&version).to_owned();
        installed.entry(found).or_insert_with(|| folder.to_owned());
    }
    installed.get(major).cloned().ok_or_else(|| {
        Error::failed(format!(
            "PostgreSQL {major} is not installed on this host (installed: {}); run `{}`",
            install::list(&installed),
            install::command(&format!("postgresql-{major}"), &format!("postgresql{major}-server"))
        ))
    })
}

/// Folders with programs, by major version, where packages put them.
fn installed() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let bin = entry.path().join("bin");
            if let Some(major) =
                name.strip_prefix(prefix).filter(|major| major.bytes().all(|byte| byte.is_ascii_digit()))
                && bin.join("postgres").is_file()
                && bin.join("initdb").is_file()
            {
                found.insert(major.to_owned(), bin);
            }
        }
    }
    found
}

/// Whether the data in `folder` are of this version, and the settings can be written down. `programs` tell which ones
/// there are.
pub(super) async fn check(definition: &Definition, folder: &Path, programs: &Path) -> Result<(), Error> {
    if let Some(of) = data_version(folder)
        && of != definition.major()
    {
        return Err(Error::failed(format!(
            "its data are of PostgreSQL {of}, and this release asks for {}; keep `engine = \"postgres:{of}\"`, or dump \
             the data, move {} away, deploy and restore them",
            definition.major(),
            folder.display()
        )));
    }
    for (name, value) in &definition.settings {
        if OURS.contains(&name.as_str()) {
            return Err(Error::failed(format!("setting `{name}` is Slipway's; remove it")));
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        if !name.bytes().all(good) || name.is_empty() || value.contains(['\n', '\r', '\0']) {
            return Err(Error::failed(format!("setting `{name}` cannot be written down; write a name and one line")));
        }
    }
    if definition.settings.is_empty() {
        return Ok(());
    }
    // A server that does not know a setting does not start, and then it is too late to say so.
    let known = describe(programs).await?;
    for (name, value) in definition.settings.iter().filter(|(name, _)| !name.contains('.')) {
        let Some(setting) = known.get(name) else {
            return Err(Error::failed(format!(
                "PostgreSQL {} has no setting `{name}` that a file may set; remove it, or correct its name",
                definition.major()
            )));
        };
        setting.check(name, value)?;
    }
    Ok(())
}

/// What a server says of one of its settings.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    /// `BOOLEAN`, `INTEGER`, `REAL`, `STRING` or `ENUM`.
    kind: String,
    /// Least and largest number, when it is one.
    range: Option<(i64, i64)>,
}

impl Setting {
    /// Refuses what the server surely would.
    fn check(&self, name: &str, value: &str) -> Result<(), Error> {
        let words = ["on", "off", "true", "false", "yes", "no", "1", "0"];
        let wrong = match (self.kind.as_str(), self.range) {
            ("BOOLEAN", _) if !words.contains(&value.to_ascii_lowercase().as_str()) => "write `on` or `off`".to_owned(),
            ("INTEGER" | "REAL", _)
                if !value.starts_with(|first: char| first.is_ascii_digit() || "-.".contains(first)) =>
            {
                "write a number, with its unit if it has one".to_owned()
            }
            ("INTEGER", Some((least, most)))
                if value.parse::<i64>().is_ok_and(|number| !(least..=most).contains(&number)) =>
            {
                format!("write {least} to {most}")
            }
            _ => return Ok(()),
        };
        Err(Error::failed(format!("setting `{name}` is `{value}`; {wrong}")))
    }
}

/// The settings a file may set, by name. Source: PostgreSQL documentation, `postgres --describe-config`.
async fn describe(programs: &Path) -> Result<BTreeMap<String, Setting>, Error> {
    let program = programs.join("postgres");
    let output = tokio::process::Command::new(&program).arg("--describe-config").kill_on_drop(true).output();
    let output =
        tokio::time::timeout(PATIENCE, output).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let output = output.map_err(Error::file("run", &program))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(described).collect())
}

fn described(line: &str) -> Option<(String, Setting)> {
    let mut columns = line.split('\t');
    let name = columns.next()?.to_owned();
    let kind = columns.nth(2)?.to_owned();
    let least = columns.nth(1).and_then(|least| least.parse().ok());
    let most = columns.next().and_then(|most| most.parse().ok());
    Some((name, Setting { kind, range: least.zip(most) }))
}

fn data_version(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(CLUSTER).join("PG_VERSION")).ok()?;
    Some(text.trim().to_owned())
}

/// Makes the first data unless there are some, writes the settings, and says what is started.
pub(super) async fn prepare(work: &Work<'_>) -> Result<Vec<String>, Error> {
    let programs = find_programs(work.definition.major()).await?;
    check(work.definition, &work.data, &programs).await?;
    if data_version(&work.data).is_none() {
        initialise(work, &programs).await?;
    }
    let memory = work.definition.memory.or_else(|| observe::process::host_memory().ok().map(|memory| memory.total / 4));
    work.write(CONFIG, &config(work, memory.unwrap_or(1 << 30)))?;
    if work.shared_at().is_some() {
        work.write(HBA, &hba(work))?;
    }
    Ok(vec![
        programs.join("postgres").display().to_string(),
        "-D".to_owned(),
        format!("{HANDED_FOLDER}/{CLUSTER}"),
        "-c".to_owned(),
        format!("config_file={HANDED_FOLDER}/{CONFIG}"),
    ])
}

async fn initialise(work: &Work<'_>, programs: &Path) -> Result<(), Error> {
    const NEW: &str = "cluster.new";
    const PASSWORD: &str = ".password";
    let new = work.data.join(NEW);
    files::remove_folder(&new)?;
    work.write(PASSWORD, &format!("{}\n", work.entry.admin_password))?;
    let made = work
        .run(vec![
            programs.join("initdb").display().to_string(),
            format!("--pgdata={HANDED_FOLDER}/{NEW}"),
            format!("--username={ADMIN}"),
            format!("--pwfile={HANDED_FOLDER}/{PASSWORD}"),
            "--auth=scram-sha-256".to_owned(),
            "--data-checksums".to_owned(),
            "--encoding=UTF8".to_owned(),
            "--locale=C.UTF-8".to_owned(),
            "--no-instructions".to_owned(),
        ])
        .await;
    let password = work.data.join(PASSWORD);
    std::fs::remove_file(&password).map_err(Error::file("remove", &password))?;
    made?;
    let cluster = work.data.join(CLUSTER);
    std::fs::rename(&new, &cluster).map_err(Error::file("rename", &new))?;
    std::fs::File::open(&work.data).and_then(|folder| folder.sync_all()).map_err(Error::file("write", &cluster))
}

/// The settings: the server's own file, what Slipway decides from the memory (in bytes) it may use, what the stack asks
/// for, and last what keeps it private.
///
/// A quarter of the memory for shared buffers is the documentation's advice (section 20.4.1); it is capped, because past
/// some gigabytes the host's own cache serves a database as well.
fn config(work: &Work<'_>, memory: u64) -> String {
    const MB: u64 = 1 << 20;
    let megabytes = |share: u64, least: u64, most: u64| (memory / share / MB).clamp(least, most);
    let scope = &work.environment.scope;
    let mut text = String::from(
        "# Written by Slipway at each start. Change `settings` of the database in slipway.toml instead.\n",
    );
    let mut line = |name: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        let _infallible = writeln!(text, "{name} = '{value}'");
    };
    line("include", &format!("{CLUSTER}/postgresql.conf"));
    line("cluster_name", &format!("{scope} {}", work.definition.name));
    line("shared_buffers", &format!("{}MB", megabytes(4, 16, 4096)));
    line("effective_cache_size", &format!("{}MB", megabytes(2, 32, 65536)));
    line("maintenance_work_mem", &format!("{}MB", megabytes(16, 16, 1024)));
    line("work_mem", &format!("{}MB", megabytes(256, 2, 64)));
    line("wal_compression", "on");
    line("log_checkpoints", "off");
    line("fsync", "on");
    for (name, value) in &work.definition.settings {
        line(name, value);
    }
    line("password_encryption", "scram-sha-256");
    line("logging_collector", "off");
    line("log_destination", "stderr");
    line("log_line_prefix", "");
    let mut addresses = "127.0.0.1".to_owned();
    if let Some(address) = work.shared_at() {
        let _infallible = write!(addresses, ",{address}");
        line("hba_file", &format!("{HANDED_FOLDER}/{HBA}"));
    }
    line("listen_addresses", &addresses);
    line("port", &work.entry.port.to_string());
    line("unix_socket_directories", HANDED_FOLDER);
    line("unix_socket_permissions", "0700");
    text
}

/// Who may come in from where: everybody with a password from this host, the application alone from the others.
/// Source: PostgreSQL documentation, section 21.1.
fn hba(work: &Work<'_>) -> String {
    let user = &work.entry.user;
    let mut text = String::from(
        "# Written by Slipway at each start, and when hosts come and go.\n\
         local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n",
    );
    for address in work.shared_at().into_iter().chain(work.others.iter().copied()) {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let _infallible = writeln!(text, "host \"{user}\" \"{user}\" {address}/{bits} scram-sha-256");
    }
    text
}

/// Lets those in that [`hba`] names now.
pub(super) fn admit(work: &Work<'_>, pid: u32) -> Result<(), Error> {
    work.write(HBA, &hba(work))?;
    let pid = i32::try_from(pid).map_err(|_| Error::failed(format!("{pid} is no process")))?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGHUP)
        .map_err(|error| Error::failed(format!("PostgreSQL cannot be told to read {HBA} again: {error}")))
}

/// Whether the application's user gets an answer. Makes the user and its database first when they are not set up.
pub(super) async fn answers(entry: &Entry, is_set_up: &mut bool) -> Result<(), String> {
    if !*is_set_up {
        let Entry { port, user, password, admin_password, .. } = entry;
        let admin = format!("postgres://{ADMIN}:{admin_password}@127.0.0.1:{port}/postgres");
        migrate::provision_postgres(&admin, user, password, PATIENCE).await?;
        *is_set_up = true;
    }
    let answer = migrate::check_connection(&entry.url(), PATIENCE).await.map(drop);
    // An agent that was killed between the first start and the setup left this to be done.
    *is_set_up = answer.is_ok();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_the_server_would_refuse_are_refused_before() {
        let line = "max_connections\tpostmaster\tConnections\tINTEGER\t0\t1\t262143\tSets the maximum.\t";
        let (name, setting) = described(line).unwrap();
        assert_eq!((name.as_str(), setting.range), ("max_connections", Some((1, 262_143))));
        setting.check(&name, "40").unwrap();
        assert!(setting.check(&name, "0").unwrap_err().to_string().ends_with("write 1 to 262143"));
        assert!(setting.check(&name, "many").unwrap_err().to_string().contains("write a number"));
        let (name, setting) = described("fsync\tsighup\tWAL\tBOOLEAN\tFALSE\t\t\tForces.\t").unwrap();
        setting.check(&name, "On").unwrap();
        assert!(setting.check(&name, "sometimes").unwrap_err().to_string().contains("write `on` or `off`"));
        let (name, setting) = described("work_mem\tuser\tMemory\tINTEGER\t0\t64\t2147483647\tSets.\t").unwrap();
        setting.check(&name, "4MB").unwrap();
    }
    #[tokio::test]
    async fn data_of_another_version_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let definition = Definition {
            name: "database.main".parse().unwrap(),
            engine: crate::services::definition::Engine::Postgres,
            version: "16.2".to_owned(),
            settings: BTreeMap::new(),
            memory: None,
            cpu_millis: None,
            shared: None,
        };
        check(&definition, folder.path(), Path::new("/nowhere")).await.expect("there are none yet");
        std::fs::create_dir(folder.path().join(CLUSTER)).unwrap();
        std::fs::write(folder.path().join(CLUSTER).join("PG_VERSION"), "15\n").unwrap();
        let refused = check(&definition, folder.path(), Path::new("/nowhere")).await.unwrap_err().to_string();
        assert!(refused.starts_with("its data are of PostgreSQL 15, and this release asks for 16; keep"), "{refused}");
        std::fs::write(folder.path().join(CLUSTER).join("PG_VERSION"), "16\n").unwrap();
        check(&definition, folder.path(), Path::new("/nowhere")).await.unwrap();
    }
}
