//! What a deploy will do: a pure function from what is wanted and what is to a list of steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stack::{ResourceName, Revision};

use crate::{
    desired::{Desired, Observed},
    journal::{DeployKind, Entry, Migration, Step},
    judge::{Readiness, readiness},
    policy::{Policy, Stage},
    record::{committed, unfinished},
};

/// The steps of one deploy. `Display` is what `--dry-run` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which kind.
    pub kind: DeployKind,
    /// What the environment is on.
    pub current: Option<Revision>,
    /// What it is to become; `None` for a stop.
    pub wanted: Option<Revision>,
    /// In order; empty when there is nothing to do.
    pub steps: Vec<Planned>,
}

/// One step with what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Planned {
    /// Bring the release to every host.
    Ship {
        /// Which.
        revision: Revision,
    },
    /// Ask every host whether it could run there.
    Preflight {
        /// Which.
        revision: Revision,
    },
    /// Copy what the migrations could damage.
    Backup {
        /// Whose databases.
        revision: Revision,
    },
    /// Apply migrations.
    Migrate {
        /// Whose.
        revision: Revision,
        /// In order.
        migrations: Vec<Migration>,
    },
    /// Start the new instances; visitors stay where they are.
    Start {
        /// What is wanted then.
        desired: Desired,
    },
    /// Wait until the new instances are ready.
    Probe {
        /// Whose instances.
        revision: Revision,
        /// How many.
        need: Need,
    },
    /// Move visitors.
    Shift {
        /// Percent for the wanted revision; 100 is the commit point.
        percent: u8,
        /// How many whole hosts that is; `None` when every edge splits its visitors.
        wave: Option<Wave>,
        /// What is wanted then.
        desired: Desired,
    },
    /// Watch the new revision beside the old one.
    Bake {
        /// The stage it belongs to, in percent.
        percent: u8,
        /// For how long, at least.
        period: Duration,
        /// Until a person promotes the stage.
        hold: bool,
        /// And until these gates are passed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gates: Vec<ResourceName>,
    },
    /// Let everything else finish and end.
    Drain {
        /// What is wanted then.
        desired: Desired,
    },
    /// Run migrations down, once nobody uses them any more.
    MigrateDown {
        /// Whose migration folders hold the down scripts.
        revision: Revision,
        /// In the order they were applied.
        migrations: Vec<Migration>,
    },
    /// Write the outcome.
    Record,
}

/// A stage made of whole hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// So many send all their visitors to the wanted revision.
    pub hosts: usize,
    /// Of so many.
    pub of: usize,
}

/// How many instances must be ready before visitors come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Every one.
    All,
    /// One is enough: visitors are on a bad release and cannot wait.
    One,
}

impl Planned {
    /// The step it is journalled as.
    pub fn step(&self) -> Step {
        match self {
            Planned::Ship { .. } => Step::Ship,
            Planned::Preflight { .. } => Step::Preflight,
            Planned::Backup { .. } => Step::Backup,
            Planned::Migrate { .. } | Planned::MigrateDown { .. } => Step::Migrate,
            Planned::Start { .. } => Step::Start,
            Planned::Probe { .. } => Step::Probe,
            Planned::Shift { .. } => Step::Shift,
            Planned::Bake { .. } => Step::Bake,
            Planned::Drain { .. } => Step::Drain,
            Planned::Record => Step::Record,
        }
    }
}

/// The steps that take an environment from `current` to `wanted`.
///
/// `current` is [`committed`] of the journal. `pending` are the migrations of `wanted` that are not applied. Planning
/// again from where a plan leads gives an empty plan.
pub fn plan(
    wanted: Option<&Revision>,
    current: Option<&Revision>,
    observed: &Observed,
    pending: &[Migration],
    policy: &Policy,
    kind: DeployKind,
) -> Plan {
    let steps = match wanted {
        None => stop(observed),
        Some(wanted) if pending.is_empty() && policy.migrations_down.is_none() && settled(observed, wanted) => vec![],
        Some(wanted) => {
            let mut steps = Vec::new();
            if kind != DeployKind::AutomaticRollback {
                steps.push(Planned::Ship { revision: wanted.clone() });
                steps.push(Planned::Preflight { revision: wanted.clone() });
                if !pending.is_empty() {
                    steps.push(Planned::Backup { revision: wanted.clone() });
                    steps.push(Planned::Migrate { revision: wanted.clone(), migrations: pending.to_vec() });
                }
            }
            replace(&mut steps, wanted, current, observed, policy, kind);
            steps
        }
    };
    Plan { kind, current: current.cloned(), wanted: wanted.cloned(), steps }
}

/// The steps that finish a deploy that passed its commit point and was interrupted.
pub fn plan_forward(
    wanted: Option<&Revision>,
    current: Option<&Revision>,
    observed: &Observed,
    policy: &Policy,
) -> Plan {
    let kind = DeployKind::AutomaticRollback; // same haste: nothing to bring, no stages
    let steps = match wanted {
        None => stop(observed),
        Some(wanted) => {
            let mut steps = Vec::new();
            replace(&mut steps, wanted, current, observed, policy, kind);
            for step in &mut steps {
                if let Planned::Probe { need, .. } = step {
                    *need = Need::All;
                }
            }
            steps
        }
    };
    Plan { kind, current: current.cloned(), wanted: wanted.cloned(), steps }
}

/// From start to record.
fn replace(
    steps: &mut Vec<Planned>,
    wanted: &Revision,
    current: Option<&Revision>,
    observed: &Observed,
    policy: &Policy,
    kind: DeployKind,
) {
    let standing = current;
    let current = current.filter(|current| *current != wanted);
    let hurry = kind == DeployKind::AutomaticRollback;
    // visitors stay: in haste where they happen to be, else where the journal left them
    let now = Some(&observed.desired.traffic).filter(|_| hurry);
    steps.push(Planned::Start { desired: beside(wanted, standing, now) });
    steps.push(Planned::Probe { revision: wanted.clone(), need: if hurry { Need::One } else { Need::All } });
    let steady = steady(Some(wanted));
    // an observation may be old, so only a repair, which has nowhere to move visitors from, goes without
    let repair = current.is_none() && observed.desired.traffic == steady.traffic && observed.serving == steady.traffic;
    if !repair {
        for stage in stages(policy, current.is_none(), kind) {
            let Stage { percent, bake, hold } = stage;
            let of = policy.by_host.filter(|_| percent < 100);
            let wave = of.map(|of| Wave { hosts: (usize::from(percent) * of).div_ceil(100), of });
            let desired = Desired { by_host: wave.is_some(), ..shifted(wanted, current, percent) };
            steps.push(Planned::Shift { percent, wave, desired });
            let last = percent == 100 && kind == DeployKind::Deploy;
            let gates = if last { policy.gates.clone() } else { Vec::new() };
            if hold || !bake.is_zero() || !gates.is_empty() {
                steps.push(Planned::Bake { percent, period: bake, hold, gates });
            }
        }
    }
    steps.push(Planned::Drain { desired: steady });
    if let Some(down) = policy.migrations_down.as_ref().filter(|down| !down.migrations.is_empty()) {
        let (revision, migrations) = (down.revision.clone(), down.migrations.clone());
        steps.push(Planned::MigrateDown { revision, migrations });
    }
    steps.push(Planned::Record);
}

/// From whatever to nothing.
fn stop(observed: &Observed) -> Vec<Planned> {
    let empty = steady(None);
    if observed.desired == empty && observed.instances.is_empty() && observed.serving.is_empty() {
        return vec![];
    }
    let shift = Planned::Shift { percent: 100, wave: None, desired: empty.clone() };
    vec![shift, Planned::Drain { desired: empty }, Planned::Record]
}

/// The policy's stages, rising and ending at 100; only the last when there is nothing to compare with or no time.
fn stages(policy: &Policy, first: bool, kind: DeployKind) -> Vec<Stage> {
    let watched = kind == DeployKind::Deploy;
    let mut stages: Vec<Stage> = Vec::new();
    for stage in &policy.stages {
        let rises = stages.last().is_none_or(|last| last.percent < stage.percent);
        if watched && !first && stage.percent < 100 && stage.percent > 0 && rises {
            stages.push(*stage);
        }
    }
    let last = policy.stages.last().filter(|last| watched && last.percent == 100);
    stages.push(last.map_or(Stage::ALL, |last| Stage { hold: false, ..*last }));
    stages
}

/// Desired state of an environment that is on `revision` and nothing else.
pub fn steady(revision: Option<&Revision>) -> Desired {
    let Some(revision) = revision else { return Desired::default() };
    Desired {
        running: BTreeSet::from([revision.clone()]),
        traffic: BTreeMap::from([(revision.clone(), 100)]),
        schedules: Some(revision.clone()),
        by_host: false,
    }
}

/// `wanted` runs beside `current`; visitors stay where they are `now`, by default on `current`, and so do schedules.
fn beside(wanted: &Revision, current: Option<&Revision>, now: Option<&BTreeMap<Revision, u8>>) -> Desired {
    let running: BTreeSet<Revision> = current.into_iter().chain([wanted]).cloned().collect();
    let now = now.filter(|now| !now.is_empty() && now.keys().all(|revision| running.contains(revision)));
    let traffic = match (now, current) {
        (Some(now), _) => now.clone(),
        (None, Some(current)) => BTreeMap::from([(current.clone(), 100)]),
        (None, None) => BTreeMap::new(),
    };
    Desired { schedules: current.cloned(), running, traffic, by_host: false }
}

/// `wanted` runs beside `current` and gets `percent` of the visitors.
fn shifted(wanted: &Revision, current: Option<&Revision>, percent: u8) -> Desired {
    let rest = current.filter(|_| percent < 100).map(|current| (current.clone(), 100 - percent));
    Desired {
        running: current.into_iter().chain([wanted]).cloned().collect(),
        traffic: rest.into_iter().chain([(wanted.clone(), percent)]).collect(),
        schedules: current.or(Some(wanted)).cloned(),
        by_host: false,
    }
}

/// The environment is on `wanted` alone, whole and serving.
fn settled(observed: &Observed, wanted: &Revision) -> bool {
    let steady = steady(Some(wanted));
    observed.desired == steady
        && observed.serving == steady.traffic
        && observed.instances.iter().all(|instance| instance.revision == *wanted)
        && readiness(observed, wanted, &BTreeSet::new()) == Readiness::Ready
        && observed.troubles.is_empty()
}

/// A deploy of `wanted` would change nothing: the journal's last word is that release, and it is whole and serving.
/// When something is unhealthy this is false, and the deploy goes on as a repair.
pub fn nothing_to_do(journal: &[Entry], observed: &Observed, wanted: &Revision) -> bool {
    !unfinished(journal) && committed(journal).as_ref() == Some(wanted) && settled(observed, wanted)
}

/// Which of the `applied` migrations the release to return to does not know, in the order they were applied.
///
/// What they hold is lost when they are run down; those that are not reversible stay.
pub fn rollback_migrations(applied: &[Migration], in_target: &[Migration]) -> Vec<Migration> {
    let known: BTreeSet<_> = in_target.iter().map(|migration| (&migration.database, migration.version)).collect();
    applied.iter().filter(|migration| !known.contains(&(&migration.database, migration.version))).cloned().collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |revision: &Option<Revision>| {
            revision.as_ref().map_or("nothing".to_owned(), |revision| revision.release.short().to_owned())
        };
        if self.steps.is_empty() {
            return writeln!(f, "nothing to do: the environment is on {}", short(&self.wanted));
        }
        writeln!(f, "{} from {} to {}", self.kind, short(&self.current), short(&self.wanted))?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {:<9}  {step}", step.step()))
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Planned::Ship { revision } => write!(f, "bring release {} to every host", revision.release),
            Planned::Preflight { .. } => f.write_str("look whether it could run there; failing here changes nothing"),
            Planned::Backup { .. } => f.write_str("copy what the migrations could damage"),
            Planned::Migrate { migrations, .. } => write!(f, "apply {}", list(migrations)),
            Planned::Start { desired } if desired.running.len() > 1 => {
                f.write_str("start its instances beside those that run; visitors stay")
            }
            Planned::Start { .. } => f.write_str("start its instances"),
            Planned::Probe { need: Need::All, .. } => f.write_str("wait until every new instance is ready"),
            Planned::Probe { need: Need::One, .. } => f.write_str("wait until one instance is ready"),
            Planned::Shift { desired, .. } if desired.traffic.is_empty() => f.write_str("stop taking visitors"),
            Planned::Shift { percent: 100, .. } => f.write_str("move all visitors (the commit point)"),
            Planned::Shift { wave: Some(Wave { hosts, of }), .. } => {
                write!(f, "move all visitors of {hosts} of {of} hosts")
            }
            Planned::Shift { percent, .. } => write!(f, "move {percent} % of the visitors"),
            Planned::Bake { percent, period, hold, gates } => {
                write!(f, "watch errors and answer times at {percent} %")?;
                let time = jiff::SignedDuration::try_from(*period).unwrap_or(jiff::SignedDuration::MAX);
                match (hold, period.is_zero()) {
                    (false, true) => {}
                    (false, false) => write!(f, " for {time:#}")?,
                    (true, true) => f.write_str(" until a person promotes it")?,
                    (true, false) => write!(f, " for {time:#}, and until a person promotes it")?,
                }
                if !gates.is_empty() {
                    let names: Vec<String> = gates.iter().map(|gate| format!("`{gate}`")).collect();
                    let plural = if names.len() == 1 { "" } else { "s" };
                    write!(f, ", and pass the gate{plural} {}", names.join(", "))?;
                }
                f.write_str("; worse rolls back")
            }
            Planned::Drain { desired } if desired.running.is_empty() => {
                f.write_str("let every instance finish and end")
            }
            Planned::Drain { .. } => f.write_str("let all other instances finish and end"),
            Planned::MigrateDown { migrations, .. } => {
                write!(f, "run down {}; what they hold IS LOST", list(migrations))
            }
            Planned::Record => f.write_str("write the outcome"),
        }
    }
}

/// `2 migrations: main 4 add_index, main 5 drop_notes (cannot be undone)`.
fn list(migrations: &[Migration]) -> String {
    let names: Vec<String> = migrations.iter().map(ToString::to_string).collect();
    let plural = if migrations.len() == 1 { "" } else { "s" };
    format!("{} migration{plural}: {}", migrations.len(), names.join(", "))
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.database, self.version, self.name)?;
        if self.reversible { Ok(()) } else { f.write_str(" (cannot be undone)") }
    }
}
