//! A connection to one host: made once, shared by everything, made again when it broke.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::Mutex,
};

use super::{Destination, Output, Rights, SshError, blame::blame, command, quoted};

/// How long a connection may take in all, jump hosts included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest folder whose sockets still have an address once `ssh` has added its 17 letters. Source: `unix(7)`.
const LONGEST_FOLDER: usize = 60;

/// A connection to one host. Clones share it. It ends with the last of them, or with this program.
#[derive(Debug, Clone)]
pub struct Ssh {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    destination: Destination,
    /// Holds the sockets; for this user alone.
    folder: tempfile::TempDir,
    link: Mutex<Link>,
    numbers: AtomicU64,
}

/// What is there of the connection now.
#[derive(Debug, Default)]
struct Link {
    master: Option<Child>,
    control: PathBuf,
    forwards: Vec<Forward>,
}

#[derive(Debug, Clone)]
struct Forward {
    local: PathBuf,
    remote: PathBuf,
}

impl Ssh {
    /// Connects. Returns once commands can be run, within 30 s.
    pub async fn connect(destination: &str) -> Result<Self, SshError> {
        let destination = Destination::parse(destination)?;
        let temporary = std::env::temp_dir();
        let within = if temporary.as_os_str().len() > LONGEST_FOLDER { Path::new("/tmp") } else { &temporary };
        let folder = tempfile::Builder::new()
            .prefix("slipway-")
            .rand_bytes(8)
            .tempdir_in(within)
            .map_err(|error| here(&destination, "make a folder", &error))?;
        let link = Mutex::default();
        let ssh = Self { shared: Arc::new(Shared { destination, folder, link, numbers: AtomicU64::new(0) }) };
        ssh.ensure().await?;
        Ok(ssh)
    }

    /// The host's name in messages: its destination without user and port.
    pub fn host(&self) -> &str {
        self.shared.destination.host()
    }

    /// Where it leads.
    pub fn destination(&self) -> &Destination {
        &self.shared.destination
    }

    /// Makes sure that the connection is there: makes it again, with everything that was forwarded at the same paths,
    /// when it broke. Costs nothing while it is good. A host that has just died is believed alive for up to 12 s.
    pub async fn ensure(&self) -> Result<(), SshError> {
        self.control().await.map(drop)
    }

    /// Ends the connection and makes a new one: the user has new groups, for example.
    pub async fn renew(&self) -> Result<(), SshError> {
        self.hang_up().await;
        self.ensure().await
    }

    /// Runs a shell script (`sh`) as the user of the connection; its stdin is empty.
    pub async fn run(&self, script: &str) -> Result<Output, SshError> {
        self.run_as(Rights::User, script).await
    }

    /// Runs a shell script (`sh`); its stdin is empty. Fails with `NoSudo` where the user may not become root.
    pub async fn run_as(&self, rights: Rights, script: &str) -> Result<Output, SshError> {
        // The whole script is read before any of it runs, so nothing in it can read the rest of it.
        let script = format!("{{\n{script}\n}} </dev/null\n");
        let line = match rights {
            Rights::User => "exec sh -s".to_owned(),
            Rights::Root => as_root("sh -s"),
        };
        self.pipe(&line, script.as_bytes()).await
    }

    /// Runs a command line in the user's shell of the host with `input` as its stdin.
    pub async fn pipe(&self, line: &str, mut input: impl AsyncRead + Unpin) -> Result<Output, SshError> {
        let mut child = self.spawn(line).await?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
            return Err(here(&self.shared.destination, "open pipes", &io::Error::other("they are missing")));
        };
        let write = async {
            let written = tokio::io::copy(&mut input, &mut stdin).await;
            drop(stdin.shutdown().await);
            drop(stdin);
            written
        };
        let (mut said, mut complained) = (Vec::new(), Vec::new());
        let (written, read, heard) =
            tokio::join!(write, stdout.read_to_end(&mut said), stderr.read_to_end(&mut complained));
        let status = child.wait().await.map_err(|error| here(&self.shared.destination, "wait", &error))?;
        let stderr = String::from_utf8_lossy(&complained).into_owned();
        let code = exit_code(status);
        // What `ssh` itself answers when there is no connection, or no more.
        if code == 255 {
            return Err(self.lost(&stderr));
        }
        read.and(heard).map_err(|error| here(&self.shared.destination, "read the answer", &error))?;
        let output = Output { code, stdout: said, stderr };
        match written {
            // It ended without reading everything, and says itself why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && code != 0 => Ok(output),
            Err(error) => Err(here(&self.shared.destination, "read what is to be sent", &error)),
            Ok(_) => Ok(output),
        }
    }

    /// Runs a shell script (`sh`) with `input` as its stdin. The script is short: it travels as an argument.
    pub async fn feed(&self, rights: Rights, script: &str, input: impl AsyncRead + Unpin) -> Result<Output, SshError> {
        let shell = format!("sh -c {}", quoted(script));
        let line = if rights == Rights::Root { as_root(&shell) } else { format!("exec {shell}") };
        self.pipe(&line, input).await
    }

    /// Starts a command line in the user's shell of the host; stdin, stdout and stderr are pipes. Exit code 255 is
    /// `ssh`'s own: the connection broke. Dropping the child ends it here; there it finds its pipes closed.
    pub async fn spawn(&self, line: &str) -> Result<Child, SshError> {
        let control = self.control().await?;
        let mut command = command::session(&control, line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| no_ssh(&self.shared.destination, &error))
    }

    /// Whether the user would get in by another sshd, which a command line starts as root on the host for one connection on
    /// its stdin and stdout. Fails with what a connection fails with.
    pub async fn rehearse(&self, line: &str) -> Result<(), SshError> {
        let control = self.control().await?;
        let destination = &self.shared.destination;
        let mut command = command::rehearse(destination, &control, &as_root(line));
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let said = format!("no connection within {} s", PATIENCE.as_secs());
        let output = output.map_err(|_| SshError::Unreachable { host: self.host().to_owned(), said })?;
        let output = output.map_err(|error| no_ssh(destination, &error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(SshError::from_words(destination, &String::from_utf8_lossy(&output.stderr)))
    }

    /// Puts a file at an absolute path of the host with these permissions, in place of the one that is there: whole or
    /// not at all, durable when it returns.
    pub async fn send(
        &self,
        rights: Rights,
        content: impl AsyncRead + Unpin,
        path: &str,
        mode: u32,
    ) -> Result<(), SshError> {
        let (to, new) = (quoted(path), quoted(&format!("{path}.new-{:x}", rand::random::<u64>())));
        let script = format!(
            "umask 077; if cat > {new} && chmod {mode:o} {new} && sync {new} && mv -f {new} {to}; then :; \
             else c=$?; rm -f {new}; exit $c; fi"
        );
        let output = self.feed(rights, &script, content).await?;
        if output.code == 0 { Ok(()) } else { Err(output.failure(self.host())) }
    }

    /// A unix socket on this machine that leads to one of the host. The same remote socket always gets the same local
    /// one, also after the connection was made again. Whether somebody listens there shows at the first connection.
    pub async fn forward(&self, remote: &Path) -> Result<PathBuf, SshError> {
        let mut link = self.shared.link.lock().await;
        self.bring_up(&mut link).await?;
        if let Some(known) = link.forwards.iter().find(|forward| forward.remote == remote) {
            return Ok(known.local.clone());
        }
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        let forward =
            Forward { local: self.shared.folder.path().join(format!("f{number}")), remote: remote.to_owned() };
        self.begin_forward(&link.control, &forward).await?;
        link.forwards.push(forward.clone());
        Ok(forward.local)
    }

    /// Ends the connection, also for all clones. It would be made again by the next use.
    pub async fn close(self) {
        self.hang_up().await;
    }

    async fn hang_up(&self) {
        let mut link = self.shared.link.lock().await;
        if let Some(mut master) = link.master.take() {
            // Both only fail when it has ended already.
            drop(command::exit(&link.control).stderr(Stdio::null()).output().await);
            drop(tokio::time::timeout(Duration::from_secs(2), master.wait()).await);
            drop(master.kill().await);
        }
    }

    /// The socket of the process that holds the connection.
    async fn control(&self) -> Result<PathBuf, SshError> {
        let mut link = self.shared.link.lock().await;
        self.bring_up(&mut link).await?;
        Ok(link.control.clone())
    }

    async fn bring_up(&self, link: &mut Link) -> Result<(), SshError> {
        if let Some(master) = &mut link.master
            && matches!(master.try_wait(), Ok(None))
        {
            return Ok(());
        }
        link.master = None;
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        link.control = self.shared.folder.path().join(format!("c{number}"));
        let (destination, patience) = (&self.shared.destination, tokio::time::sleep(PATIENCE));
        let master = tokio::select! {
            master = dial(destination, &link.control) => master?,
            () = patience => {
                let said = format!("no connection within {} s", PATIENCE.as_secs());
                return Err(SshError::Unreachable { host: self.host().to_owned(), said });
            }
        };
        link.master = Some(master);
        for forward in link.forwards.clone() {
            self.begin_forward(&link.control, &forward).await?;
        }
        Ok(())
    }

    async fn begin_forward(&self, control: &Path, forward: &Forward) -> Result<(), SshError> {
        match std::fs::remove_file(&forward.local) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(here(&self.shared.destination, "remove an old socket", &error));
            }
            _ => {}
        }
        let mut command: Command = command::forward(control, &forward.local, &forward.remote);
        let output = command.output().await.map_err(|error| no_ssh(&self.shared.destination, &error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.lost(&String::from_utf8_lossy(&output.stderr)))
    }

    fn lost(&self, words: &str) -> SshError {
        let said = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ssh ended without a word");
        SshError::Lost { host: self.host().to_owned(), said: said.to_owned() }
    }
}

/// Starts the process that holds the connection and waits until it does.
async fn dial(destination: &Destination, control: &Path) -> Result<Child, SshError> {
    let mut master = command::master(destination, control).spawn().map_err(|error| no_ssh(destination, &error))?;
    let (Some(stdout), Some(mut stderr)) = (master.stdout.take(), master.stderr.take()) else {
        return Err(here(destination, "open pipes", &io::Error::other("they are missing")));
    };
    let mut lines = BufReader::new(stdout).lines();
    // A talkative profile may say something first.
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim() == command::READY {
            // Kept empty, so that it never waits for somebody to read.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
            return Ok(master);
        }
    }
    let mut words = Vec::new();
    drop(stderr.read_to_end(&mut words).await);
    drop(master.wait().await);
    Err(blame(destination, &String::from_utf8_lossy(&words)).await)
}

/// A command line that runs as root, through `sudo -n` where the user is another.
fn as_root(command: &str) -> String {
    // Plain enough for every login shell.
    format!(
        "exec sh -c {}",
        quoted(&format!("if [ \"$(id -u)\" = 0 ]; then exec {command}; else exec sudo -n -- {command}; fi"))
    )
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn here(destination: &Destination, doing: &'static str, error: &io::Error) -> SshError {
    SshError::Here { host: destination.host().to_owned(), doing, said: error.to_string() }
}

fn no_ssh(destination: &Destination, error: &io::Error) -> SshError {
    if error.kind() == io::ErrorKind::NotFound { SshError::NoProgram } else { here(destination, "start ssh", error) }
}
