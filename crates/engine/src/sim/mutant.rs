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
    /// An entry counts as written although hosts that are not left out did not answer.
    AppendByFew,
    /// A host recovers a deploy alone.
    RecoverAlone,
    /// A person takes the lease of less than half of the hosts.
    LockByFew,
    /// A host that was away keeps its journal and desired state when the lease is taken.
    NoLevel,
    /// Tokens of hosts that were away do not catch up.
    NoFloor,
}

impl Mutant {
    /// Broken worlds that only many hosts make.
    pub const MANY: [Mutant; 5] =
        [Mutant::AppendByFew, Mutant::RecoverAlone, Mutant::LockByFew, Mutant::NoLevel, Mutant::NoFloor];

    /// Every broken one of a single host.
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
