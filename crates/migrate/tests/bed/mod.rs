//! Real databases and migration folders for tests: everything on random ports and in temporary folders.

#![expect(dead_code, reason = "each test binary uses its own part of the bed")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, Weak, mpsc},
    time::{Duration, Instant},
};

use migrate::{ConnectOptions, Database, Event, Folder, MigrateError, Up};
use tempfile::TempDir;

/// A private PostgreSQL server, stopped and removed with its last user.
pub(crate) struct Server {
    _folder: TempDir,
    pub(crate) port: u16,
    pid: u32,
}

static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    /// The server of this test binary; started when none runs.
    pub(crate) fn get() -> Arc<Self> {
        let mut running = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = running.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *running = Arc::downgrade(&server);
        server
    }

    fn start() -> Self {
        let binaries = binaries();
        let folder = TempDir::new().unwrap();
        // the server's user must reach its data
        Command::new("chmod").arg("755").arg(folder.path()).status().unwrap();
        let data = folder.path().join("data");
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        let root = is_root();
        if root {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).arg(&own).status().unwrap().success());
        }
        let made = as_postgres(root, &binaries.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale", "C"])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::write(
            data.join("pg_hba.conf"),
            "host all ann 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n",
        )
        .unwrap();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut server = as_postgres(root, &binaries.join("postgres"));
            server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k"]).arg(&own).args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=200",
            ]);
            let log = fs::File::create(folder.path().join("log")).unwrap();
            server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            // the death signal follows the thread that started it, so this thread lives as long as the server
            let (tell, told) = mpsc::channel();
            let (ended, has_ended) = mpsc::channel();
            std::thread::spawn(move || {
                let mut child = server.spawn().unwrap();
                tell.send(child.id()).unwrap();
                let _ = child.wait();
                let _ = ended.send(());
            });
            let pid = told.recv().unwrap();
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline && has_ended.try_recv().is_err() {
                if ready(&binaries, port) {
                    return Self { _folder: folder, port, pid };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("PostgreSQL did not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// A fresh database; its address as the superuser.
    pub(crate) async fn database(&self) -> String {
        let name = format!("d{:016x}", rand::random::<u64>());
        let mut admin = Admin::connect(&self.url("postgres")).await;
        admin.run(&format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // QUIT is PostgreSQL's immediate shutdown; the data are thrown away anyway
        let _ = Command::new("kill").args(["-QUIT", &self.pid.to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{}", self.pid)).exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // the temporary folder goes with the struct
    }
}

fn ready(binaries: &Path, port: u16) -> bool {
    let port = port.to_string();
    let mut ask = Command::new(binaries.join("pg_isready"));
    ask.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap().trim() == "0"
}

/// PostgreSQL refuses to run as root.
fn as_postgres(root: bool, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.current_dir("/");
    if root {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program);
    command
}

/// The newest installed PostgreSQL.
pub(crate) fn binaries() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL is needed for this test: apt-get install postgresql").1
}

/// A second connection, to look and to disturb.
pub(crate) struct Admin(Connection);

enum Connection {
    Postgres(sqlx::PgConnection),
    Sqlite(sqlx::SqliteConnection),
}

impl Admin {
    pub(crate) async fn connect(url: &str) -> Self {
        use sqlx::Connection as _;
        if url.starts_with("sqlite") {
            Self(Connection::Sqlite(sqlx::SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap()))
        } else {
            Self(Connection::Postgres(sqlx::PgConnection::connect(url).await.unwrap()))
        }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        match &mut self.0 {
            Connection::Postgres(connection) => drop(sql.execute(connection).await.unwrap()),
            Connection::Sqlite(connection) => drop(sql.execute(connection).await.unwrap()),
        }
    }

    /// The first column of every row.
    pub(crate) async fn ask(&mut self, sql: &str) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &mut self.0 {
            Connection::Postgres(connection) => sqlx::query_scalar(sql).fetch_all(connection).await.unwrap(),
            Connection::Sqlite(connection) => sqlx::query_scalar(sql).fetch_all(connection).await.unwrap(),
        }
    }

    /// Names of the application's tables, sorted.
    pub(crate) async fn tables(&mut self) -> Vec<String> {
        let sql = match self.0 {
            Connection::Postgres(_) => {
                "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations' ORDER BY 1"
            }
            Connection::Sqlite(_) => {
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'migrations' ORDER BY 1"
            }
        };
        self.ask(sql).await
    }
}

/// A temporary folder of migrations.
pub(crate) struct Files {
    pub(crate) folder: TempDir,
}

impl Files {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let made = Self { folder: TempDir::new().unwrap() };
        for (name, text) in files {
            made.write(name, text);
        }
        made
    }

    /// Migrations 1 to `count`, each with a table `t1`, `t2` ... and its way down.
    pub(crate) fn tables(count: usize) -> Self {
        let made = Self::new(&[]);
        for n in 1..=count {
            made.write(&format!("{n:03}_t{n}.up.sql"), &format!("CREATE TABLE t{n} (a int);\n"));
            made.write(&format!("{n:03}_t{n}.down.sql"), &format!("DROP TABLE t{n};\n"));
        }
        made
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    pub(crate) fn read(&self) -> Folder {
        Folder::read(self.folder.path()).unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A database to migrate, SQLite in a temporary folder or PostgreSQL.
pub(crate) struct Bed {
    pub(crate) url: String,
    server: Option<Arc<Server>>,
    folder: TempDir,
}

impl Bed {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        Self { url: format!("sqlite://{}", folder.path().join("app.db").display()), server: None, folder }
    }

    pub(crate) async fn postgres() -> Self {
        let server = Server::get();
        Self { url: server.database().await, server: Some(server), folder: TempDir::new().unwrap() }
    }

    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.server.is_none()
    }

    pub(crate) async fn connect(&self) -> Database {
        Database::connect(&self.url, &patient()).await.unwrap()
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(&self.url).await
    }

    /// A folder that lives as long as the bed.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn up(&self, files: &Files) -> Result<Vec<u64>, MigrateError> {
        up(&mut self.connect().await, files).await
    }
}

pub(crate) fn patient() -> ConnectOptions {
    ConnectOptions { table_wait: Duration::from_millis(200), ..ConnectOptions::default() }
}

/// Applies all and returns the versions.
pub(crate) async fn up(database: &mut Database, files: &Files) -> Result<Vec<u64>, MigrateError> {
    let applied = migrate::up(database, &files.read(), &Up::default(), &mut quiet).await?;
    Ok(applied.into_iter().map(|applied| applied.version).collect())
}

pub(crate) fn quiet(_: Event) {}
