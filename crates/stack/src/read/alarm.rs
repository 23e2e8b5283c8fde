//! `[alarm]`: names and their conditions.

use std::collections::BTreeMap;

use super::section::Section;
use crate::{AlarmRule, ResourceName};

/// Reads every alarm.
pub(crate) fn read_all(section: &Section<'_>) -> BTreeMap<ResourceName, String> {
    let mut alarms = BTreeMap::new();
    for entry in section.each() {
        let name = super::stack::name(&entry, "an alarm");
        let Some(text) = entry.filled() else { continue };
        // the author's own words are kept
        let rule = entry.quantity(text.parse::<AlarmRule>());
        if let (Some(name), Some(_)) = (name, rule) {
            alarms.insert(name, text.trim().to_owned());
        }
    }
    alarms
}
