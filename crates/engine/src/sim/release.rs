//! What releases a seed has, and what is wrong with them.

use stack::{ReleaseId, ResourceName, Revision, ValuesId};

use super::random::Random;
use crate::journal::Migration;

/// How a release behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// As it should.
    Good,
    /// Its processes end at once.
    FailsToStart,
    /// Its processes never pass their probe.
    NeverReady,
    /// Answers 500 to a third of its visitors.
    Errors,
    /// Answers ten times slower than it should.
    Slow,
    /// Becomes unready some time after visitors came.
    Sickens,
    /// Its port is taken.
    Troubled,
}

/// One revision of a seed.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its name.
    pub revision: Revision,
    /// How it behaves.
    pub character: Character,
    /// It has the first so many of the seed's migrations.
    pub migrations: usize,
    /// Its build fails.
    pub build_fails: bool,
    /// A host refuses it.
    pub preflight_fails: bool,
    /// Instances of its services together.
    pub replicas: u32,
}

/// One migration of a seed.
#[derive(Debug, Clone)]
pub struct Script {
    /// What the journal calls it.
    pub migration: Migration,
    /// Its up script fails.
    pub fails: bool,
}

/// The releases of a seed, first to last.
///
/// # Panics
///
/// Never: their names are well formed.
pub fn releases(random: &mut Random, scripts: usize) -> Vec<Made> {
    let replicas = if random.chance(60) { 0 } else { u32::try_from(random.between(1, 4)).unwrap_or(1) };
    let mut migrations = 0;
    (1..=5_u64)
        .map(|number| {
            let release = ReleaseId::new(format!("{number:064x}")).expect("64 digits");
            let values = ValuesId::new(format!("{number:016x}")).expect("16 digits");
            migrations = (migrations + usize::try_from(random.between(0, 3)).unwrap_or(0)).min(scripts);
            let character = match random.between(0, 24) {
                0 => Character::FailsToStart,
                1 => Character::NeverReady,
                2 => Character::Errors,
                3 => Character::Slow,
                4 => Character::Sickens,
                5 => Character::Troubled,
                _ => Character::Good,
            };
            // a process that does not exist cannot misbehave, and most stories begin well
            let well = replicas == 0 || (number == 1 && random.chance(800));
            let character = if well { Character::Good } else { character };
            let (build_fails, preflight_fails) = (random.chance(20), random.chance(20));
            Made {
                revision: Revision { release, values },
                character,
                migrations,
                build_fails,
                preflight_fails,
                replicas,
            }
        })
        .collect()
}

/// The migrations of a seed, in order.
///
/// # Panics
///
/// Never: their names are well formed.
pub fn scripts(random: &mut Random) -> Vec<Script> {
    let database = ResourceName::new("main").expect("a name");
    (1..=random.between(1, 7))
        .map(|version| {
            let (database, name, reversible) = (database.clone(), format!("m{version}"), random.chance(750));
            Script { migration: Migration { database, version, name, reversible }, fails: random.chance(40) }
        })
        .collect()
}
