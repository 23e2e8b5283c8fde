//! An application's own user on a host: what keeps applications of one host from each other's files, environments and
//! sockets.
//!
//! Only on a host that was added (`host.json`), and only when the agent is root. Elsewhere an application is the
//! agent's user.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use nix::unistd::User;
use stack::AppName;

use crate::{environment::Environment, error::Error, files, host::Host, host_file::HostFile};

/// Longest name of a user. Source: `useradd(8)`.
const LONGEST: usize = 32;

/// Makes sure that the application has a user, that it gets to its releases and its data, and that no other does.
/// Returns the user's name; `None` where applications have none.
pub(crate) async fn ensure(host: &Host, environment: &Environment) -> Result<Option<String>, Error> {
    if !nix::unistd::geteuid().is_root() || HostFile::find(&host.home)?.is_none() {
        return Ok(None);
    }
    let name = name(&environment.scope.app);
    let user = match find(&name)? {
        Some(user) => user,
        None => make(&name).await?,
    };
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    let (store, apps) = (host.home.store(), host.home.path().join("apps"));
    let (releases, app) = (store.join("releases"), apps.join(environment.scope.app.as_str()));
    for way in [&store, &releases, &apps] {
        grant(way, 0, 0, 0o711)?;
    }
    grant(&releases.join(environment.scope.app.as_str()), 0, gid, 0o750)?;
    for way in [&app, &environment.folder] {
        grant(way, 0, gid, 0o710)?;
    }
    let data = environment.data();
    files::make_folder(&data)?;
    give(&data, uid, gid)?;
    grant(&data, uid, gid, 0o700)?;
    Ok(Some(name))
}

/// Lets an application's user read one file of a run, `tasks/<run>/<file>`, and nothing else there.
pub(crate) fn show(user: &str, file: &Path) -> Result<(), Error> {
    let Some(user) = find(user)? else { return Ok(()) };
    let gid = user.gid.as_raw();
    for folder in file.ancestors().skip(1).take(2) {
        grant(folder, 0, gid, 0o710)?;
    }
    grant(file, 0, gid, 0o640)
}

/// The user of an application: `slipway-jobsprint`. A name that is too long ends with its digest.
fn name(app: &AppName) -> String {
    let name = format!("slipway-{app}");
    if name.len() <= LONGEST {
        return name;
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let short: String = name.chars().take(LONGEST - 9).collect();
    format!("{}-{}", short.trim_end_matches('-'), &digest[..8])
}

fn find(name: &str) -> Result<Option<User>, Error> {
    User::from_name(name).map_err(|error| Error::failed(format!("cannot look for user `{name}`: {error}")))
}

async fn make(name: &str) -> Result<User, Error> {
    let mut command = tokio::process::Command::new("useradd");
    command.args([
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/",
        "--shell",
        "/usr/sbin/nologin",
        name,
    ]);
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Error::failed(format!("cannot make the user `{name}` by `useradd`: {error}")))?;
    // Another environment of the app may have made it at the same moment.
    find(name)?.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Error::failed(format!(
            "cannot make the user `{name}`: {said}; make it with `useradd --system --user-group {name}`"
        ))
    })
}

/// Gives a folder an owner, a group and rights, where it has others.
fn grant(path: &Path, uid: u32, gid: u32, mode: u32) -> Result<(), Error> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(Error::file("look at", path))?,
    };
    if (found.uid(), found.gid()) != (uid, gid) {
        chown(path, Some(uid), Some(gid)).map_err(Error::file("give away", path))?;
    }
    if found.permissions().mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::file("protect", path))?;
    }
    Ok(())
}

/// Gives away the files that the agent made in a folder of data: a database that was just migrated, for example. Folders
/// are those of servers and of copies, and stay as they are.
fn give(folder: &Path, uid: u32, gid: u32) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let path = entry.map_err(Error::file("read", folder))?.path();
        let found = fs::symlink_metadata(&path).map_err(Error::file("look at", &path))?;
        if found.uid() == 0 && found.is_file() {
            chown(&path, Some(uid), Some(gid)).map_err(Error::file("give away", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_app_has_a_name_of_its_own_that_a_system_takes() {
        let of = |app: &str| name(&AppName::new(app).unwrap());
        assert_eq!(of("jobsprint"), "slipway-jobsprint");
        let (one, other) =
            (of("a-very-long-name-for-an-application-one"), of("a-very-long-name-for-an-application-two"));
        assert_ne!(one, other);
        assert!(one.len() <= LONGEST && one.starts_with("slipway-a-very-long"), "{one}");
    }
}
