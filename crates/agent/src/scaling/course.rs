//! Decides how many instances of a service a host keeps. Pure: what was measured and the time come in.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use stack::ScaleAt;

use super::{Number, Pace};

/// A load this near to what is aimed at changes nothing: numbers must not swing.
const NEAR_PERCENT: u64 = 10;

/// The least and the most instances of a service on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Its share of the stack's minimum.
    pub(crate) min: u32,
    /// Its share of the stack's maximum.
    pub(crate) max: u32,
}

impl Bounds {
    /// A number within them.
    pub(crate) fn hold(self, replicas: u32) -> u32 {
        replicas.clamp(self.min, self.max.max(self.min))
    }
}

/// What the ready instances of a service used on average since the last look, in percent of what each asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Processor time.
    pub(super) cpu: Option<u32>,
    /// Memory.
    pub(super) memory: Option<u32>,
}

/// The past of one service's number.
#[derive(Debug)]
pub(super) struct Course {
    replicas: u32,
    /// Since when it is that.
    since: Instant,
    added: Option<Instant>,
    /// What was enough, when, for as long as it takes to have fewer; oldest first.
    enough: VecDeque<(Instant, u32)>,
}

impl Course {
    /// Begins with a number.
    pub(super) fn new(replicas: u32, now: Instant) -> Self {
        Self { replicas, since: now, added: None, enough: VecDeque::new() }
    }

    /// The number after a look: `ready` instances, all that are wanted, had this load.
    ///
    /// Never more than double, never more often than the pace allows; fewer only when fewer were enough at every look
    /// for long enough.
    pub(super) fn look(&mut self, bounds: Bounds, load: Load, aim: &ScaleAt, now: Instant, pace: Pace) -> Number {
        let before = self.replicas;
        self.replicas = bounds.hold(before);
        let (needed, why) = needed(self.replicas, bounds.min, load, aim);
        let needed = bounds.hold(needed.min(self.replicas.saturating_mul(2).max(1)));
        self.enough.push_back((now, needed));
        while self.enough.front().is_some_and(|(at, _)| now.duration_since(*at) > pace.down) {
            self.enough.pop_front();
        }
        let wait = |since: Option<Instant>, pause: Duration| since.is_some_and(|at| now.duration_since(at) < pause);
        if needed > self.replicas && !wait(self.added, pace.up) {
            (self.replicas, self.added) = (needed, Some(now));
        } else if needed < self.replicas && !wait(Some(self.since), pace.down) {
            let most = self.enough.iter().map(|(_, needed)| *needed).max();
            self.replicas = self.replicas.min(most.unwrap_or(needed));
        }
        if self.replicas != before {
            self.since = now;
        }
        Number { replicas: self.replicas, why }
    }
}

/// How many instances would have the load that is aimed at, and why. None only where none is the least, and the last
/// one has less than half of that.
fn needed(replicas: u32, min: u32, load: Load, aim: &ScaleAt) -> (u32, String) {
    let mut most = None;
    let mut why = Vec::new();
    for (name, used, aim) in [("CPU", load.cpu, aim.cpu), ("memory", load.memory, aim.memory)] {
        let (Some(used), Some(aim)) = (used, aim.filter(|aim| *aim > 0)) else { continue };
        let (all, aim) = (u64::from(replicas) * u64::from(used), u64::from(aim));
        let near = u64::from(used).abs_diff(aim) * 100 <= aim * NEAR_PERCENT;
        let needed = if near { replicas } else { u32::try_from(all.div_ceil(aim)).unwrap_or(u32::MAX) };
        let least = u32::from(min > 0 || all * 2 > aim);
        most = most.max(Some(if needed > 1 { needed } else { least }));
        why.push(format!("{name} {used} %, aimed at {aim} %"));
    }
    match most {
        Some(most) => (most, why.join("; ")),
        None => (replicas, "nothing is measured".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AIM: ScaleAt = ScaleAt { cpu: Some(50), memory: None };
    const BOUNDS: Bounds = Bounds { min: 1, max: 10 };

    fn load(cpu: u32) -> Load {
        Load { cpu: Some(cpu), memory: None }
    }

    /// The numbers after loads, one look every ten seconds.
    fn follow(begin: u32, loads: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let (start, pace) = (Instant::now(), Pace::default());
        let mut course = Course::new(begin, start);
        let looks = loads.into_iter().zip(1..);
        looks.map(|(cpu, look)| course.look(BOUNDS, load(cpu), &AIM, start + pace.look * look, pace).replicas).collect()
    }

    #[test]
    fn instances_are_added_until_each_has_what_is_aimed_at() {
        assert_eq!(follow(1, [55]), [1], "near enough");
        assert_eq!(follow(2, [75]), [3]);
        assert_eq!(follow(1, [400]), [2], "at most double");
        assert_eq!(follow(1, [400, 200, 200, 200, 110]), [2, 2, 2, 4, 4], "half a minute between additions");
        assert_eq!(follow(8, [100]), [10], "never more than the maximum");
    }

    #[test]
    fn instances_are_taken_away_only_after_five_calm_minutes() {
        let calm = follow(6, std::iter::repeat_n(10, 31));
        assert!(calm[..29].iter().all(|replicas| *replicas == 6), "{calm:?}");
        assert_eq!(calm[29..], [2, 2], "ceil(6 * 10 / 50)");
        let mut wave = vec![10; 20];
        wave.push(45);
        wave.extend(vec![10; 20]);
        assert!(follow(6, wave).iter().all(|replicas| *replicas == 6), "a wave in between needs them");
    }

    #[test]
    fn the_dearer_of_two_measures_counts() {
        let aim = ScaleAt { cpu: Some(50), memory: Some(80) };
        let now = Instant::now();
        let load = Load { cpu: Some(10), memory: Some(160) };
        let number = Course::new(2, now).look(BOUNDS, load, &aim, now, Pace::default());
        assert_eq!(
            number,
            Number { replicas: 4, why: "CPU 10 %, aimed at 50 %; memory 160 %, aimed at 80 %".to_owned() }
        );
    }

    #[test]
    fn without_a_measure_nothing_changes() {
        let now = Instant::now();
        assert_eq!(Course::new(3, now).look(BOUNDS, Load::default(), &AIM, now, Pace::default()).replicas, 3);
    }

    #[test]
    fn a_host_that_only_helped_out_stops_once_it_is_hardly_used() {
        let (now, pace) = (Instant::now(), Pace::default());
        let bounds = Bounds { min: 0, max: 3 };
        let after = |cpu| {
            let mut course = Course::new(1, now);
            (1..40).map(|look| course.look(bounds, load(cpu), &AIM, now + pace.look * look, pace).replicas).last()
        };
        assert_eq!((after(40), after(10)), (Some(1), Some(0)));
    }

    proptest! {
        #[test]
        fn numbers_stay_within_their_bounds_and_never_more_than_double(
            loads in proptest::collection::vec(0u32..1_000, 1..100), begin in 1u32..10,
        ) {
            let mut before = begin;
            for replicas in follow(begin, loads) {
                prop_assert!((1..=10).contains(&replicas) && replicas <= before * 2);
                before = replicas;
            }
        }
    }
}
