//! A PostgreSQL of a test's own.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::bench::run;

/// It stops when it is dropped.
pub(crate) struct Server {
    binaries: PathBuf,
    data: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
}

impl Server {
    /// Starts one in a folder that is made for it.
    pub(crate) fn start(folder: &Path) -> Self {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let binaries =
            versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).find(|path| path.join("initdb").exists());
        let binaries = binaries.expect("PostgreSQL is missing; get it: apt-get install postgresql");
        std::fs::create_dir_all(folder).expect("made");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let server = Self { binaries, data: folder.join("data"), port, user: unprivileged() };
        if let Some((user, group)) = server.user {
            std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("given away");
            let above = folder.parent().expect("a folder");
            std::fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("opened");
        }
        run(server
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync", "-D"])
            .arg(&server.data));
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {}", folder.display());
        let log = folder.join("log");
        run(server
            .command("pg_ctl")
            .arg("-D")
            .arg(&server.data)
            .arg("-l")
            .arg(log)
            .args(["-w", "-o", &options, "start"]));
        server
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group).current_dir("/");
        }
        command
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The rows of a query.
    pub(crate) fn ask(&self, query: &str) -> String {
        run(Command::new(self.binaries.join("psql")).arg(self.url()).args(["--no-psqlrc", "-Atc", query]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl").arg("-D").arg(&self.data).args(["-m", "immediate", "stop"]).output();
    }
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |what: &[&str]| run(Command::new("id").args(what)).parse::<u32>().expect("a number");
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}
