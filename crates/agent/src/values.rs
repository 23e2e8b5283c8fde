//! `values/<id>.json` of one environment: sets of variable values, readable by the agent's user alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::ValuesId;

use crate::{error::Error, files, home::Home, members::Identity};

/// One set of values. Has no `Debug`: it must not be printed by accident.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Values {
    /// By name.
    pub(crate) values: BTreeMap<String, String>,
    /// Names of those that are secret.
    pub(crate) secrets: BTreeSet<String>,
}

impl Values {
    /// The values that must never be shown.
    pub(crate) fn secret_values(&self) -> impl Iterator<Item = &String> {
        self.secrets.iter().filter_map(|name| self.values.get(name))
    }
}

/// What makes ids of values: ids tell two sets apart, and nothing about them to somebody who has no key.
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Reads the key of a home, or makes one.
    pub(crate) fn of(home: &Home) -> Result<Self, Error> {
        let path = home.path().join("values.key");
        if let Ok(bytes) = fs::read(&path)
            && let Ok(key) = bytes.try_into()
        {
            return Ok(Self(key));
        }
        let key: [u8; 32] = rand::random();
        files::replace(&path, &key)?;
        Ok(Self(key))
    }

    /// The key that the hosts of an environment share, so that a set has the same id on each of them.
    pub(crate) fn of_fleet(identity: &Identity) -> Self {
        Self(blake3::derive_key("slipway 2026 ids of values", identity.secret.as_bytes()))
    }

    /// The id of a set: the same for the same values.
    pub(crate) fn id(&self, values: &BTreeMap<String, String>) -> ValuesId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for (name, value) in values {
            for text in [name, value] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
        ValuesId::new(&hasher.finalize().to_hex()[..16]).expect("16 hexadecimal digits are an id")
    }
}

/// Keeps a set in an environment's folder and says under which id.
pub(crate) fn put(folder: &Path, key: &Key, mut values: Values) -> Result<ValuesId, Error> {
    let id = key.id(&values.values);
    let path = path(folder, &id);
    if let Some(known) = find(folder, &id)? {
        if values.secrets.is_subset(&known.secrets) {
            return Ok(id);
        }
        values.secrets.extend(known.secrets);
    }
    files::make_folder(&folder.join("values"))?;
    files::replace_json(&path, &values)?;
    Ok(id)
}

/// Keeps a set that another host of the environment gave, under the id it has there.
pub(crate) fn keep(folder: &Path, id: &ValuesId, values: &Values) -> Result<(), Error> {
    files::make_folder(&folder.join("values"))?;
    files::replace_json(&path(folder, id), values)
}

/// A set that was kept.
pub(crate) fn find(folder: &Path, id: &ValuesId) -> Result<Option<Values>, Error> {
    files::find_json(&path(folder, id), "remove it and deploy again")
}

fn path(folder: &Path, id: &ValuesId) -> PathBuf {
    folder.join("values").join(format!("{}.json", id.as_str()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn values(pairs: &[(&str, &str)], secrets: &[&str]) -> Values {
        Values {
            values: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn equal_values_get_the_same_id_and_different_ones_another() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let key = Key::of(&home).unwrap();
        let one = put(folder.path(), &key, values(&[("A", "1"), ("B", "2")], &["B"])).unwrap();
        assert_eq!(put(folder.path(), &Key::of(&home).unwrap(), values(&[("A", "1"), ("B", "2")], &[])).unwrap(), one);
        for other in
            [&[("A", "12"), ("B", "")][..], &[("A", "1"), ("B", "3")], &[("A", "1")], &[("A1", ""), ("B", "2")]]
        {
            assert_ne!(put(folder.path(), &key, values(other, &["A"])).unwrap(), one);
        }
        assert!(find(folder.path(), &one).unwrap() == Some(values(&[("A", "1"), ("B", "2")], &["B"])));
        assert!(find(folder.path(), &one).unwrap().unwrap().secret_values().eq(["2"]));
        let mode = fs::metadata(path(folder.path(), &one)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_id_is_keyed_by_the_host() {
        let values = BTreeMap::from([("PIN".to_owned(), "1234".to_owned())]);
        assert_ne!(Key([1; 32]).id(&values), Key([2; 32]).id(&values));
    }
}
