//! The files of a new migration.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{error::MigrateError, folder::Folder};

const UP: &str =
    "-- What changes and why. One small step: it runs in one transaction, and is never edited once applied.
--
-- The release that runs now keeps running while this does: add first, remove in a later release.
-- For a statement that cannot run in a transaction, begin the file with:  -- slipway: no-transaction

";

const DOWN: &str = "-- The exact reverse, so that a failed deploy can take it back.
-- When there is no way back, delete this file.

";

/// Makes the up and the down file of a new migration, numbered after the folder's last, and returns their paths.
///
/// The folder is made when it is missing. The number has as many digits as the others, at least three.
pub fn create(folder: impl AsRef<Path>, name: &str) -> Result<(PathBuf, PathBuf), MigrateError> {
    let folder = folder.as_ref();
    fs::create_dir_all(folder).map_err(|source| MigrateError::File {
        doing: "create the folder",
        path: folder.to_owned(),
        source,
    })?;
    let name = plain_name(name);
    if name.is_empty() {
        let reason = "a migration's name needs at least one letter or digit, as in `slipway migrate new add_users`";
        return Err(MigrateError::CannotCreate(reason.to_owned()));
    }
    let (last, digits) = last(folder)?;
    let Some(next) = last.checked_add(1).filter(|next| i64::try_from(*next).is_ok()) else {
        return Err(MigrateError::CannotCreate(format!(
            "there is no number after {last}; renumber the last migration"
        )));
    };
    let paths = ["up", "down"].map(|side| folder.join(format!("{next:0digits$}_{name}.{side}.sql")));
    for (path, text) in paths.iter().zip([UP, DOWN]) {
        let failed = |source| MigrateError::File { doing: "write", path: path.clone(), source };
        let mut file = File::create_new(path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
    }
    let [up, down] = paths;
    Ok((up, down))
}

/// The last number and how many digits numbers have. An unfinished folder is no obstacle to a new file.
fn last(folder: &Path) -> Result<(u64, usize), MigrateError> {
    let failed = |source| MigrateError::File { doing: "read", path: folder.to_owned(), source };
    let (mut last, mut digits) = (0, 3);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let file_name = entry.map_err(failed)?.file_name();
        let number: String = file_name.to_string_lossy().chars().take_while(char::is_ascii_digit).collect();
        if file_name.as_encoded_bytes().ends_with(b".sql")
            && let Ok(version) = number.parse::<u64>()
            && version >= last
        {
            (last, digits) = (version, number.len().max(3));
        }
    }
    Ok((last, digits))
}

/// Lowercase words joined by `_`.
fn plain_name(name: &str) -> String {
    let words: Vec<String> =
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.join("_")
}

impl Folder {
    /// The number a new migration would get.
    pub fn next(&self) -> u64 {
        self.migrations.last().map_or(1, |migration| migration.version.saturating_add(1))
    }
}
