//! How visitors move, as text: `10% for 5m, 50% for 10m, 100%`, `waves 1, 25%, 100%`, `at_once`.

use std::{fmt, str::FromStr};

use crate::{BadQuantity, Period, Rollout, Share, Stage};

/// Most stages a rollout may have: one for every percent would be no plan any more.
const MOST_STAGES: usize = 20;
/// Most hosts a wave may name: a fleet is meant for about twenty.
const MOST_HOSTS: u8 = 100;

/// Everybody at once, not watched.
impl Default for Rollout {
    fn default() -> Self {
        let all = Stage { share: Share::Percent(100), bake: Period::from(0), hold: false };
        Self { stages: vec![all], waves: false }
    }
}

impl FromStr for Rollout {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = |mend: &str| BadQuantity::new("a rollout", text, mend);
        if text.trim() == "at_once" {
            return Ok(Self::default());
        }
        let rest = text.trim_start().strip_prefix("waves").filter(|waves| waves.starts_with(char::is_whitespace));
        let waves = rest.is_some();
        let mut stages: Vec<Stage> = Vec::new();
        for part in rest.unwrap_or(text).split(',') {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (share, bake, hold) = match words[..] {
                [share] => (share, Period::from(0), false),
                [share, "for", bake] => (share, bake.parse()?, false),
                [share, "until", "promoted"] => (share, Period::from(0), true),
                _ => return Err(bad("write stages as `10% for 5m` or `10% until promoted`, separated by commas")),
            };
            let share = match (share.strip_suffix('%').map(str::parse::<u8>), share.parse::<u8>()) {
                (Some(Ok(percent @ 1..=100)), _) => Share::Percent(percent),
                (None, Ok(hosts @ 1..=MOST_HOSTS)) if waves => Share::Hosts(hosts),
                (None, Ok(1..)) if !waves => {
                    return Err(bad("a number of hosts is only for waves: write `waves 1, 100%`, or a share as `10%`"));
                }
                _ if waves => return Err(bad("every wave starts with a number of hosts or a share from 1% to 100%")),
                _ => return Err(bad("every stage starts with a whole share from 1% to 100%")),
            };
            if stages.iter().any(|earlier| !rises(earlier.share, share)) {
                return Err(bad("the shares must rise from stage to stage"));
            }
            stages.push(Stage { share, bake, hold });
        }
        match stages.last() {
            Some(Stage { share: Share::Percent(100), hold: false, .. }) => {}
            Some(Stage { share: Share::Percent(100), .. }) => {
                return Err(bad(
                    "the last stage waits for nobody: hold an earlier one, as in `50% until promoted, 100%`",
                ));
            }
            _ => return Err(bad("the last stage must be 100%")),
        }
        if stages.len() > MOST_STAGES {
            return Err(bad("use at most 20 stages"));
        }
        Ok(Self { stages, waves })
    }
}

/// Whether `later` is more than `earlier`, as far as that can be said without knowing how many hosts there are.
fn rises(earlier: Share, later: Share) -> bool {
    match (earlier, later) {
        (Share::Percent(earlier), Share::Percent(later)) | (Share::Hosts(earlier), Share::Hosts(later)) => {
            earlier < later
        }
        (Share::Percent(100), Share::Hosts(_)) => false,
        _ => true,
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.waves { "waves " } else { "" })?;
        for (index, stage) in self.stages.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            write!(f, "{}", stage.share)?;
            if stage.hold {
                f.write_str(" until promoted")?;
            } else if stage.bake > Period::from(0) {
                write!(f, " for {}", stage.bake)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Percent(percent) => write!(f, "{percent}%"),
            Share::Hosts(hosts) => write!(f, "{hosts}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_rollouts_are_refused() {
        for bad in [
            "",
            "10%",
            "50%, 10%, 100%",
            "0%, 100%",
            "101%",
            "10 for 5m, 100%",
            "10% for, 100%",
            "100%,",
            "10% 5m, 100%",
            "1, 100%",
            "waves",
            "waves 1",
            "waves 0, 100%",
            "waves 2, 1, 100%",
            "waves 1, 25%, 2, 10%, 100%",
            "waves 1, 100%, 2",
            "waves1, 100%",
            "10% until, 100%",
            "10% until promoted for 5m, 100%",
            "10%, 100% until promoted",
            "at_once, 100%",
        ] {
            assert!(bad.parse::<Rollout>().is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn rollouts_are_read_and_written() {
        for text in [
            "10% for 5m, 50% for 10m, 100%",
            "100%",
            "waves 1, 25%, 100%",
            "waves 1 for 5m, 3, 50% until promoted, 100% for 1m",
            "10% until promoted, 50% until promoted, 100%",
        ] {
            let rollout: Rollout = text.parse().expect("well formed");
            assert_eq!(rollout.to_string(), text);
        }
        assert_eq!("at_once".parse(), Ok(Rollout::default()));
        let waves: Rollout = "waves 1, 25% until promoted, 100%".parse().expect("well formed");
        let shares: Vec<Share> = waves.stages.iter().map(|stage| stage.share).collect();
        assert_eq!(shares, [Share::Hosts(1), Share::Percent(25), Share::Percent(100)]);
        assert_eq!(waves.stages.iter().map(|stage| stage.hold).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn rollouts_of_earlier_versions_are_read() {
        let text = r#"{"stages":[{"percent":10,"bake":300000},{"percent":100,"bake":0}]}"#;
        let today: Rollout = "10% for 5m, 100%".parse().expect("well formed");
        assert_eq!(serde_json::from_str::<Rollout>(text).expect("parses"), today);
        assert_eq!(serde_json::to_string(&today).expect("serialises"), text);
    }

    proptest! {
        #[test]
        fn rollouts_round_trip(
            shares in proptest::collection::btree_set(1u8..100, 0..10),
            bake in 0..10_000_000u64,
            hold in any::<bool>(),
            waves in any::<bool>(),
        ) {
            let all = Stage { share: Share::Percent(100), bake: Period::from(bake), hold: false };
            let bake = Period::from(if hold { 0 } else { bake });
            let stage = |percent| Stage { share: Share::Percent(percent), bake, hold };
            let mut stages: Vec<Stage> = shares.into_iter().map(stage).chain([all]).collect();
            if waves {
                stages.insert(0, Stage { share: Share::Hosts(1), bake, hold });
            }
            let rollout = Rollout { stages, waves };
            prop_assert_eq!(rollout.to_string().parse(), Ok(rollout));
        }
    }
}
