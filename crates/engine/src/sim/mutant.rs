//! Deliberately broken worlds: each must be caught by a law.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutant {
    /// Nothing.
    #[default]
    None,
    /// The host does what verbs with old fences ask.
    IgnoresFences,
    /// The last journal entry is lost when its writer dies.
    ForgetfulJournal,
    /// The engine wants visitors moved before it says so in the journal.
    ShiftBeforeJournal,
    /// The engine applies migrations before it says so in the journal.
    MigrateBeforeJournal,
    /// The engine does not wait for instances to be ready.
    NoProbe,
    /// The engine does not wait for the edges before it drains.
    NoServed,
    /// A lease never lapses.
    EternalLease,
    /// Nobody finishes a deploy whose engine died.
    NoRecovery,
    /// Migrations are never run down.
    NoWayDown,
    /// A migration that fails is applied by half.
    HalfMigration,
    /// An automatic rollback changes the journal and not the hosts.
    PaperRollback,
}

impl Mutant {
    /// Every broken one.
    pub const ALL: [Mutant; 11] = [
        Mutant::IgnoresFences,
        Mutant::ForgetfulJournal,
        Mutant::ShiftBeforeJournal,
        Mutant::MigrateBeforeJournal,
        Mutant::NoProbe,
        Mutant::NoServed,
        Mutant::EternalLease,
        Mutant::NoRecovery,
        Mutant::NoWayDown,
        Mutant::HalfMigration,
        Mutant::PaperRollback,
    ];
}
