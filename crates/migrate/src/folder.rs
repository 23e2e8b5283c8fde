//! A folder of migrations on disk.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    address::Engine,
    error::{MigrateError, Problem, Problems},
    script::Script,
};

/// The migrations of one folder, by number. Made only from a folder without problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it was read.
    pub path: PathBuf,
    /// By number.
    pub migrations: Vec<Migration>,
}

/// One migration: the way up, and the way down where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// From its file name; 1 or more.
    pub version: u64,
    /// From its file name.
    pub name: String,
    /// BLAKE3 of the way up, in hexadecimal, with line ends as LF and without a byte order mark.
    pub checksum: String,
    /// The way up.
    pub up: Side,
    /// The way down.
    pub down: Option<Side>,
    /// The digits of the number as the file has them, for tables whose `version` is a text.
    #[serde(skip)]
    pub(crate) digits: String,
}

/// One SQL file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Where it is.
    pub path: PathBuf,
    /// What it says, with line ends as LF and without a byte order mark.
    #[serde(skip)]
    pub text: String,
}

impl Migration {
    /// It has a way down.
    pub fn reversible(&self) -> bool {
        self.down.is_some()
    }
}

/// What a file's name says.
#[derive(Debug, PartialEq, Eq)]
struct FileName<'a> {
    digits: &'a str,
    name: &'a str,
    down: bool,
}

impl Folder {
    /// Reads a folder of `NNN_name.up.sql` (or `NNN_name.sql`) and `NNN_name.down.sql`.
    ///
    /// Numbers may have gaps. Files that do not end in `.sql` are left alone.
    /// Fails with every problem of the folder at once.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, MigrateError> {
        let path = path.as_ref();
        let mut problems = Vec::new();
        let mut ups: BTreeMap<u64, Vec<(String, String, Side)>> = BTreeMap::new();
        let mut downs: BTreeMap<u64, Vec<(String, Side)>> = BTreeMap::new();
        for file in list(path)? {
            let mut problem = |reason: String| problems.push(Problem { path: file.clone(), line: None, reason });
            let Some(file_name) = file.file_name().and_then(|name| name.to_str()) else {
                problem("has a name that is not UTF-8; rename it".to_owned());
                continue;
            };
            let (name, version) = match parse_name(file_name) {
                Ok(found) => found,
                Err(reason) => {
                    problem(reason);
                    continue;
                }
            };
            match read_side(&file) {
                Ok(side) if name.down => downs.entry(version).or_default().push((name.name.to_owned(), side)),
                Ok(side) => {
                    ups.entry(version).or_default().push((name.digits.to_owned(), name.name.to_owned(), side));
                }
                Err(reason) => {
                    problem(reason);
                    // it exists, so do not also report its other half as alone
                    let side = Side { path: file.clone(), text: String::new() };
                    if !name.down {
                        ups.entry(version).or_default().push((name.digits.to_owned(), name.name.to_owned(), side));
                    }
                }
            }
        }
        let mut migrations = Vec::new();
        for (version, mut sides) in ups {
            if sides.len() > 1 {
                let names: Vec<_> = sides.iter().map(|(_, _, side)| short(&side.path)).collect();
                problems.push(Problem {
                    path: sides[1].2.path.clone(),
                    line: None,
                    reason: format!("number {version} is used twice ({}); renumber one of them", names.join(", ")),
                });
            }
            let (digits, name, up) = sides.swap_remove(0);
            let mut of_down = downs.remove(&version).unwrap_or_default();
            if let Some((_, second)) = of_down.get(1) {
                let reason = format!("migration {version} has two down files; keep one");
                problems.push(Problem { path: second.path.clone(), line: None, reason });
            }
            let down = (!of_down.is_empty()).then(|| of_down.swap_remove(0));
            if let Some((down_name, side)) = down.as_ref().filter(|(down_name, _)| *down_name != name) {
                let reason = format!("is named {down_name}, but its up file is named {name}; give both the same name");
                problems.push(Problem { path: side.path.clone(), line: None, reason });
            }
            let checksum = blake3::hash(up.text.as_bytes()).to_hex().to_string();
            migrations.push(Migration { version, name, checksum, up, down: down.map(|(_, side)| side), digits });
        }
        for (_, side) in downs.into_values().flatten() {
            let up = short(&side.path).replace(".down.sql", ".up.sql");
            problems.push(Problem {
                path: side.path,
                line: None,
                reason: format!("has no {up}; write it or delete this"),
            });
        }
        if problems.is_empty() {
            Ok(Self { path: path.to_owned(), migrations })
        } else {
            problems.sort();
            Err(Problems(problems).into())
        }
    }

    /// Checks every file for statements that cannot be run in a migration of this engine, without a database.
    ///
    /// Fails with every problem at once.
    pub fn check(&self, engine: Engine) -> Result<(), MigrateError> {
        check_sides(
            self.migrations.iter().flat_map(|migration| [Some(&migration.up), migration.down.as_ref()]).flatten(),
            engine,
        )
    }

    /// The migration of this number.
    pub fn find(&self, version: u64) -> Option<&Migration> {
        self.migrations.iter().find(|migration| migration.version == version)
    }
}

/// Checks some files as [`Folder::check`] does.
pub(crate) fn check_sides<'a>(sides: impl Iterator<Item = &'a Side>, engine: Engine) -> Result<(), MigrateError> {
    let mut problems = Vec::new();
    for side in sides {
        if let Err(found) = Script::parse(&side.text, engine) {
            problems.extend(found.into_iter().map(|(line, reason)| Problem {
                path: side.path.clone(),
                line: Some(line),
                reason,
            }));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems).into()) }
}

/// The `.sql` files of a folder, by name.
fn list(path: &Path) -> Result<Vec<PathBuf>, MigrateError> {
    let entries = fs::read_dir(path).map_err(|source| {
        if source.kind() == io::ErrorKind::NotFound {
            let reason = "does not exist; create it with `slipway migrate new NAME`".to_owned();
            Problems(vec![Problem { path: path.to_owned(), line: None, reason }]).into()
        } else {
            MigrateError::File { doing: "read the migrations in", path: path.to_owned(), source }
        }
    })?;
    let (mut files, mut prisma) = (Vec::new(), false);
    for entry in entries {
        let entry = entry.map_err(|source| MigrateError::File { doing: "read", path: path.to_owned(), source })?;
        let file = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if file.is_dir() {
            prisma |= file.join("migration.sql").is_file();
        } else if !hidden && file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql")) {
            files.push(file);
        }
    }
    if files.is_empty() && prisma {
        let reason =
            "holds Prisma migrations; let Prisma run them: `migrate = \"npx prisma migrate deploy\"`".to_owned();
        return Err(Problems(vec![Problem { path: path.to_owned(), line: None, reason }]).into());
    }
    files.sort();
    Ok(files)
}

fn short(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parse_name(file_name: &str) -> Result<(FileName<'_>, u64), String> {
    const SHAPE: &str = "rename it to NNN_name.up.sql or NNN_name.down.sql, as in 001_users.up.sql";
    let Some(stem) = file_name.strip_suffix(".sql") else {
        return Err(format!("does not end in a lowercase .sql; {SHAPE}"));
    };
    let (stem, down) = match (stem.strip_suffix(".down"), stem.strip_suffix(".up")) {
        (Some(stem), _) => (stem, true),
        (None, Some(stem)) => (stem, false),
        (None, None) => (stem, false),
    };
    let (digits, name) = stem.split_once('_').unwrap_or((stem, ""));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("does not begin with a number and `_`; {SHAPE}"));
    }
    let sound = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(sound) {
        return Err(format!("has no plain name after its number (letters, digits, `_`, `-`); {SHAPE}"));
    }
    match digits.parse::<i64>().map(u64::try_from) {
        Ok(Ok(0)) => Err("has number 0; numbers begin at 1: renumber it".to_owned()),
        Ok(Ok(version)) => Ok((FileName { digits, name, down }, version)),
        _ => Err(format!("has a number above {}; renumber it", i64::MAX)),
    }
}

fn read_side(path: &Path) -> Result<Side, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot be read: {error}; mend or remove it"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = String::from_utf8_lossy(&error.as_bytes()[..valid]).matches('\n').count() + 1;
        format!("is not UTF-8 (line {line}); save it as UTF-8")
    })?;
    // what a checkout with other line ends or an editor's byte order mark changes is no change of the migration
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    if text.contains('\0') {
        return Err("contains a NUL character; remove it".to_owned());
    }
    // either engine's rules find the same emptiness
    if let Ok(script) = Script::parse(&text, Engine::Sqlite)
        && script.statements.is_empty()
    {
        return Err("has no SQL statement; write one, or delete the file".to_owned());
    }
    Ok(Side { path: path.to_owned(), text })
}
