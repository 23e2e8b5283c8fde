//! How visitors move, as text: `10% for 5m, 50% for 10m, 100%`.

use std::{fmt, str::FromStr};

use crate::{BadQuantity, Period, Rollout, Stage};

/// Most stages a rollout may have: one for every percent would be no plan any more.
const MOST_STAGES: usize = 20;

/// Everybody at once, not watched.
impl Default for Rollout {
    fn default() -> Self {
        Self { stages: vec![Stage { percent: 100, bake: Period::from(0) }] }
    }
}

impl FromStr for Rollout {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = |mend: &str| BadQuantity::new("a rollout", text, mend);
        let mut stages: Vec<Stage> = Vec::new();
        for part in text.split(',') {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (percent, bake) = match words[..] {
                [percent] => (percent, Period::from(0)),
                [percent, "for", bake] => (percent, bake.parse()?),
                _ => return Err(bad("write stages as `10% for 5m`, separated by commas")),
            };
            let percent =
                percent.strip_suffix('%').and_then(|n| n.parse::<u8>().ok()).filter(|n| (1..=100).contains(n));
            let percent = percent.ok_or_else(|| bad("every stage starts with a whole share from 1% to 100%"))?;
            if stages.last().is_some_and(|last| last.percent >= percent) {
                return Err(bad("the shares must rise from stage to stage"));
            }
            stages.push(Stage { percent, bake });
        }
        if stages.last().is_none_or(|last| last.percent != 100) {
            return Err(bad("the last stage must be 100%"));
        }
        if stages.len() > MOST_STAGES {
            return Err(bad("use at most 20 stages"));
        }
        Ok(Self { stages })
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            write!(f, "{}%", stage.percent)?;
            if stage.bake > Period::from(0) {
                write!(f, " for {}", stage.bake)?;
            }
        }
        Ok(())
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
        ] {
            assert!(bad.parse::<Rollout>().is_err(), "{bad} was accepted");
        }
        let staged: Rollout = "10% for 5m, 50% for 10m, 100%".parse().expect("well formed");
        assert_eq!(staged.stages.len(), 3);
        assert_eq!(staged.to_string(), "10% for 5m, 50% for 10m, 100%");
    }

    proptest! {
        #[test]
        fn rollouts_round_trip(shares in proptest::collection::btree_set(1u8..100, 0..10), bake in 0..10_000_000u64) {
            let stages = shares.into_iter().chain([100]).map(|percent| Stage { percent, bake: Period::from(bake) });
            let rollout = Rollout { stages: stages.collect() };
            prop_assert_eq!(rollout.to_string().parse(), Ok(rollout));
        }
    }
}
