//! `host.json`: what `slipway host add` told a machine about itself. A machine without it is nobody's host but its own.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{error::Error, files, home::Home};

/// A host as it knows itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFile {
    /// Its name, as in `a.example.org`.
    pub name: String,
    /// Where other hosts reach it.
    pub address: IpAddr,
    /// The group whose members may speak to the agent. They can do what the agent can.
    pub group: String,
}

impl HostFile {
    /// Its text on disk.
    pub fn to_text(&self) -> String {
        // Strings and an address always become JSON.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// That of a home. Fails when it is something else.
    pub fn find(home: &Home) -> Result<Option<Self>, Error> {
        files::find_json(&home.path().join("host.json"), "remove it, and run `slipway host add` again")
    }

    /// Lets the group through the home's folder, and to the agent's socket. Nobody else sees what is in the folder:
    /// everything below it is closed to others.
    pub(crate) fn open_to_group(&self, home: &Home, socket: &Path) -> Result<(), Error> {
        let group = nix::unistd::Group::from_name(&self.group)
            .map_err(|error| Error::failed(format!("cannot look for group `{}`: {error}", self.group)))?
            .ok_or_else(|| {
                Error::failed(format!("this host has no group `{0}`; make it with `groupadd --system {0}`", self.group))
            })?;
        chown(socket, None, Some(group.gid.as_raw())).map_err(Error::file("give to its group", socket))?;
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        allow(socket, 0o660).map_err(Error::file("open to its group", socket))?;
        allow(home.path(), 0o711).map_err(Error::file("let others through", home.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        assert_eq!(HostFile::find(&home).unwrap(), None);
        let file = HostFile { name: "a.example.org".into(), address: [10, 0, 0, 7].into(), group: "slipway".into() };
        fs::write(folder.path().join("host.json"), file.to_text()).unwrap();
        assert_eq!(HostFile::find(&home).unwrap(), Some(file));
        fs::write(folder.path().join("host.json"), "{}").unwrap();
        let error = HostFile::find(&home).unwrap_err().to_string();
        assert!(error.ends_with("run `slipway host add` again"), "{error}");
    }
}
