//! Where a command works: the project's folder and stack file, the environment, the agent's home.

use std::path::{Path, PathBuf};

use agent::{home::Home, protocol::Scope};
use fleet::{Fleet, Place as HostPlace};
use release::Store;
use stack::{AppName, EnvironmentName, Problem, Problems, Resolved, TargetKind};

use crate::{
    args::Common,
    exit::{Exit, Failure},
};

/// The options that say where.
#[derive(Debug)]
pub(crate) struct Place {
    file: Option<PathBuf>,
    env: Option<String>,
    home: Option<PathBuf>,
}

/// A stack file that was found and read.
#[derive(Debug)]
pub(crate) struct Project {
    /// The file as messages name it.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Its text.
    pub(crate) text: String,
}

impl Place {
    /// From the command line.
    pub(crate) fn new(common: Common) -> Self {
        // an empty variable of the environment is as good as none
        let env = common.env.filter(|name| !name.is_empty());
        Self { file: common.file, env, home: common.home }
    }

    /// Finds and reads the stack file: the one named, or `slipway.toml` here or in a folder above.
    pub(crate) fn project(&self) -> Result<Project, Failure> {
        let path = match &self.file {
            Some(file) if file.is_dir() => file.join("slipway.toml"),
            Some(file) => file.clone(),
            None => find_upwards("slipway.toml")?,
        };
        let text = std::fs::read(&path).map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::NotFound {
                "slipway init writes a first one"
            } else {
                "give it to the user that runs slipway, or name another by --file"
            };
            Failure::usage(format!("cannot read {}: {error}", path.display())).hint(hint)
        })?;
        let text = String::from_utf8(text).map_err(|_| not_text(&path))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::path::absolute(folder)
            .map_err(|error| Failure::usage(format!("cannot find the folder of {}: {error}", path.display())))?;
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        Ok(Project { name, folder, text })
    }

    /// The environment: the one named, else `dev`, else the only one.
    pub(crate) fn environment(&self, project: &Project) -> Result<EnvironmentName, Failure> {
        let known = stack::environments(&project.text);
        if let Some(name) = &self.env {
            let found = known.iter().find(|known| known.as_str() == name);
            return found.cloned().ok_or_else(|| unknown_environment(name, &known));
        }
        if let Some(dev) = known.iter().find(|name| name.as_str() == "dev") {
            return Ok(dev.clone());
        }
        match known.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Failure::Problems(stack::check(&project.name, &project.text), Exit::Usage)),
            _ => Err(Failure::usage("this stack has several environments")
                .hint(format!("add --env with one of {}", list(&known)))),
        }
    }

    /// The stack with the environment's overlay applied; every problem at once otherwise.
    pub(crate) fn resolve(&self, project: &Project) -> Result<Resolved, Failure> {
        let environment = self.environment(project)?;
        stack::resolve(&project.name, &project.text, &environment)
            .map_err(|problems| Failure::Problems(problems, Exit::Usage))
    }

    /// Folder of this machine's agent.
    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.home {
            return std::path::absolute(home)
                .map_err(|error| Failure::usage(format!("--home {}: {error}", home.display())));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/slipway"));
        }
        if let Some(state) = std::env::var_os("XDG_STATE_HOME").filter(|state| !state.is_empty()) {
            return Ok(Path::new(&state).join("slipway"));
        }
        let user =
            std::env::home_dir().ok_or_else(|| Failure::usage("no home folder is known").hint("add --home DIR"))?;
        Ok(user.join(".local/state/slipway"))
    }
}

fn not_text(path: &Path) -> Failure {
    Failure::usage(format!("{} is not UTF-8 text", path.display())).hint("save it as UTF-8, or name another by --file")
}

/// The file in this folder or the nearest one above.
fn find_upwards(name: &str) -> Result<PathBuf, Failure> {
    let here =
        std::env::current_dir().map_err(|error| Failure::usage(format!("cannot find the current folder: {error}")))?;
    here.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        Failure::usage(format!("no {name} in {} or a folder above", here.display()))
            .hint("slipway init writes a first one")
    })
}

fn unknown_environment(name: &str, known: &[EnvironmentName]) -> Failure {
    let mut problems = Problems::new();
    let mend = if known.is_empty() {
        "add [environment.…] to the stack file".to_owned()
    } else {
        format!("use one of {}", list(known))
    };
    problems.push(
        Problem::error("unknown-environment", "", format!("no environment `{name}` in this stack")).with_mend(mend),
    );
    Failure::Problems(problems, Exit::Usage)
}

fn list(names: &[EnvironmentName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// An environment and the way to it.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The stack file.
    pub(crate) project: Project,
    /// The stack with this environment's overlay.
    pub(crate) resolved: Resolved,
    /// The target.
    pub(crate) fleet: Fleet,
    home: Home,
}

impl Place {
    /// The environment and the way to it. Nothing is started and nobody is asked yet.
    pub(crate) fn reach(&self) -> Result<Reach, Failure> {
        self.reach_without(&[])
    }

    /// The same, as if it had none of these hosts: names or destinations as in the stack file.
    pub(crate) fn reach_without(&self, without: &[String]) -> Result<Reach, Failure> {
        let project = self.project()?;
        let mut resolved = self.resolve(&project)?;
        leave_out(&mut resolved, without)?;
        self.reach_for(project, resolved)
    }

    /// The way to an environment that has been resolved already.
    pub(crate) fn reach_for(&self, project: Project, resolved: Resolved) -> Result<Reach, Failure> {
        let home = Home::at(self.home()?);
        let scope = Scope { app: resolved.stack.app.clone(), environment: resolved.name.clone() };
        let fleet = match resolved.environment.target {
            TargetKind::Hosts => {
                let places = resolved.environment.hosts.iter().cloned().map(HostPlace::Ssh).collect();
                Fleet::of_hosts(home.clone(), scope, places).allow_lost(resolved.environment.max_fail.into())
            }
            _ => Fleet::here(binary()?, home.clone(), scope),
        };
        Ok(Reach { project, resolved, fleet, home })
    }
}

impl Reach {
    /// The application.
    pub(crate) fn app(&self) -> &AppName {
        &self.resolved.stack.app
    }

    /// The agent's folder on this machine.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Fails with a hint when no agent answers: then nothing of the application runs here, or no host can be reached.
    pub(crate) async fn answers(&self) -> Result<(), Failure> {
        if self.fleet.answers().await {
            return Ok(());
        }
        if !self.fleet.is_here() {
            return Err(Failure::Problems(self.fleet.problems().await, Exit::Failed));
        }
        Err(Failure::new(format!("nothing runs here: no agent answers in {}", self.home.path().display()))
            .hint(format!("slipway deploy --env {} starts it", self.resolved.name)))
    }

    /// The releases.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(self.home.store())?)
    }
}

/// Takes hosts out of the environment. Fails with those that it does not have.
fn leave_out(resolved: &mut Resolved, without: &[String]) -> Result<(), Failure> {
    let named = |host: &str, text: &str| host == text || HostPlace::Ssh(host.to_owned()).name() == text;
    let hosts = &mut resolved.environment.hosts;
    for text in without {
        if !hosts.iter().any(|host| named(host, text)) {
            return Err(Failure::usage(format!("{} has no host `{text}`", resolved.name))
                .hint(format!("its hosts are {}", hosts.join(", "))));
        }
    }
    hosts.retain(|host| !without.iter().any(|text| named(host, text)));
    if hosts.is_empty() && !without.is_empty() {
        return Err(Failure::usage("no host is left").hint("leave out fewer with --without"));
    }
    Ok(())
}

/// This very program, which also is the agent, the edge and the shim.
fn binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::new(format!("cannot find this program's own file: {error}")))
}
