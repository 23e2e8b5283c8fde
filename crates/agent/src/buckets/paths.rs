//! Names of files that a person can find by an object's key, whatever the key is.

/// Bytes of a name that one segment of a key may take. A name has 255 (`NAME_MAX`), and a file's also has `~` and an id.
const LONGEST: usize = 200;

/// Where an object lies below a bucket's `objects` folder: its key, escaped, and the id of this content of it.
///
/// `resumes/ada.pdf` is `resumes/ada.pdf~<id>`. A folder never has `~` in its name, so that the keys `a` and `a/b` can
/// both be. What a name cannot be is escaped as `%` and two hexadecimal digits; an empty segment is `%`; one that is too
/// long goes on in a folder: each part but the last ends with `%+`.
pub(super) fn of_object(key: &str, id: &str) -> String {
    let segments: Vec<String> = key.split('/').map(segment).collect();
    format!("{}~{id}", segments.join("/"))
}

/// The id at the end of [`of_object`]'s path.
pub(super) fn id(path: &str) -> &str {
    path.rsplit_once('~').map_or(path, |(_, id)| id)
}

fn segment(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut whole = String::with_capacity(text.len());
    let mut length = 0;
    for (index, character) in text.char_indices() {
        let shown = shown(character, index == 0);
        if length + shown.len() > LONGEST {
            whole.push_str("%+/");
            length = 0;
        }
        length += shown.len();
        whole.push_str(&shown);
    }
    whole
}

fn shown(character: char, first: bool) -> String {
    // A leading dot would hide the file, or be a folder's own or upper name.
    if character.is_control() || matches!(character, '%' | '~' | '\\') || (first && character == '.') {
        let mut bytes = [0; 4];
        let bytes: Vec<String> = character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
        return bytes.concat();
    }
    character.to_string()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_person_finds_an_object_by_its_key() {
        let shown = ["resumes/ada lovelace.pdf", "a", "a/b", "../../etc/passwd", "/x//y/", ".", "50%~\0"]
            .map(|key| of_object(key, "7"));
        let expected = [
            "resumes/ada lovelace.pdf~7",
            "a~7",
            "a/b~7",
            "%2E./%2E./etc/passwd~7",
            "%/x/%/y/%~7",
            "%2E~7",
            "50%25%7E%00~7",
        ];
        assert_eq!(shown, expected);
        assert_eq!(id(&shown[0]), "7");
    }

    proptest! {
        #[test]
        fn every_key_has_a_path_of_its_own_below_the_folder(keys in proptest::collection::vec(".{0,400}", 1..8)) {
            let mut seen = BTreeMap::new();
            for key in keys {
                let path = of_object(&key, "0123456789abcdef0123");
                for part in Path::new(&path).components() {
                    prop_assert!(matches!(part, std::path::Component::Normal(name) if name.len() <= 255));
                }
                if let Some(other) = seen.insert(path, key.clone()) {
                    prop_assert_eq!(other, key);
                }
            }
        }
    }
}
