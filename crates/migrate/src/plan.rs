//! Which migrations to run, in which order: pure, from a folder and a status.

use crate::{
    error::MigrateError,
    folder::{Folder, Migration},
    status::{State, Status},
};

/// How far up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Up {
    /// The last version to apply; all by default.
    pub to: Option<u64>,
    /// Only says what would be applied.
    pub dry_run: bool,
    /// Applies pending migrations that are older than the newest applied one, too.
    pub allow_out_of_order: bool,
}

/// How far down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Which ones.
    pub which: Which,
    /// Only says what would be reverted.
    pub dry_run: bool,
}

/// Which applied migrations to revert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest so many; fewer when there are fewer. Refused when one of them has no way down.
    Steps(usize),
    /// Those of these that are applied, newest first, until one has no way down: that one and the older ones stay.
    /// Refused when a newer one that is not named is applied.
    Versions(Vec<u64>),
}

/// What to apply, in order.
pub(crate) fn plan_up<'a>(folder: &'a Folder, status: &Status, up: &Up) -> Result<Vec<&'a Migration>, MigrateError> {
    refuse_interrupted(status)?;
    let changed: Vec<_> = status
        .migrations
        .iter()
        .filter(|line| line.state == State::Changed)
        .filter_map(|line| line.file.clone())
        .collect();
    if !changed.is_empty() {
        return Err(MigrateError::Changed(changed));
    }
    if let Some(to) = up.to
        && folder.find(to).is_none()
    {
        return Err(MigrateError::Unknown { version: to, folder: folder.path.clone() });
    }
    let wanted = |version: u64| up.to.is_none_or(|to| version <= to);
    let late: Vec<_> = status
        .migrations
        .iter()
        .filter(|line| line.state == State::OutOfOrder && wanted(line.version))
        .filter_map(|line| line.file.clone())
        .collect();
    if !late.is_empty() && !up.allow_out_of_order {
        return Err(MigrateError::OutOfOrder { files: late, newest: status.newest().unwrap_or_default() });
    }
    Ok(status.pending().filter(|line| wanted(line.version)).filter_map(|line| folder.find(line.version)).collect())
}

/// What to revert, in order.
pub(crate) fn plan_down<'a>(
    folder: &'a Folder,
    status: &Status,
    which: &Which,
) -> Result<Vec<&'a Migration>, MigrateError> {
    refuse_interrupted(status)?;
    let reversible = |version| folder.find(version).filter(|migration| migration.reversible());
    match which {
        Which::Steps(steps) => status
            .applied()
            .rev()
            .take(*steps)
            .map(|line| {
                reversible(line.version).ok_or_else(|| {
                    let (version, name) = (line.version, &line.name);
                    MigrateError::CannotRevert(if line.file.is_some() {
                        format!("migration {version} ({name}) has no down file; write one, or revert fewer steps")
                    } else {
                        format!(
                            "the file of migration {version} ({name}) is not in {}; revert it from the release that \
                             applied it, or revert fewer steps",
                            folder.path.display()
                        )
                    })
                })
            })
            .collect(),
        Which::Versions(versions) => {
            let Some(oldest) = status.applied().map(|line| line.version).find(|version| versions.contains(version))
            else {
                return Ok(Vec::new());
            };
            if let Some(newer) =
                status.applied().find(|line| line.version > oldest && !versions.contains(&line.version))
            {
                return Err(MigrateError::CannotRevert(format!(
                    "migration {} ({}) was applied after {oldest} and may rest on it; revert it as well",
                    newer.version, newer.name
                )));
            }
            let newest_first = status.applied().rev().take_while(|line| line.version >= oldest);
            Ok(newest_first.map_while(|line| reversible(line.version)).collect())
        }
    }
}

fn refuse_interrupted(status: &Status) -> Result<(), MigrateError> {
    for line in &status.migrations {
        if let State::Interrupted { done, direction } = line.state {
            let (version, name) = (line.version, line.name.clone());
            return Err(MigrateError::Interrupted { version, name, done, direction });
        }
    }
    Ok(())
}
