//! Which instance of a pool takes a request: revisions by weight, then the less busy of two.

use std::{sync::Arc, time::Instant};

use crate::{instance::Instance, random::Random, traffic::Meter};

/// The instances of one revision.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) weight: u32,
    pub(crate) instances: Vec<Arc<Instance>>,
    pub(crate) meter: Arc<Meter>,
}

/// A pool, ready to choose from.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) id: String,
    pub(crate) hold: std::time::Duration,
    /// Only those that may take visitors: weight above 0.
    pub(crate) revisions: Vec<Revision>,
}

/// A choice.
#[derive(Debug)]
pub(crate) enum Choice<'a> {
    /// This one, of this revision.
    Take(&'a Arc<Instance>, &'a Revision),
    /// None now; those that refused connections may be tried again at this moment.
    Later(Option<Instant>),
}

impl Pool {
    /// Chooses an instance. `sticky` is preferred while it may be taken. Those in `tried` (by number) and those
    /// passed over are not taken; with `desperate`, those passed over are.
    pub(crate) fn choose(
        &self,
        random: &Random,
        sticky: Option<u64>,
        tried: &[u64],
        desperate: bool,
        now: Instant,
    ) -> Choice<'_> {
        let usable = |instance: &Arc<Instance>| {
            instance.healthy()
                && !tried.contains(&instance.number)
                && (desperate || instance.passed_over(now).is_none())
        };
        if let Some(cookie) = sticky {
            for revision in &self.revisions {
                if let Some(found) = revision.instances.iter().find(|one| one.cookie == cookie && usable(one)) {
                    return Choice::Take(found, revision);
                }
            }
        }
        if let [only] = self.revisions.as_slice() {
            if let Some(found) = pick(only, random, usable) {
                return Choice::Take(found, only);
            }
        } else {
            // a revision without a usable instance lends its share to the others
            let open = |revision: &&Revision| revision.instances.iter().any(usable);
            let total: u64 = self.revisions.iter().filter(open).map(|one| u64::from(one.weight)).sum();
            if total > 0 {
                let mut ticket = random.below(total);
                for revision in self.revisions.iter().filter(open) {
                    if ticket < u64::from(revision.weight) {
                        if let Some(found) = pick(revision, random, usable) {
                            return Choice::Take(found, revision);
                        }
                        break;
                    }
                    ticket -= u64::from(revision.weight);
                }
            }
        }
        let again = self
            .revisions
            .iter()
            .flat_map(|revision| &revision.instances)
            .filter(|instance| instance.healthy())
            .filter_map(|instance| instance.passed_over(now))
            .min();
        Choice::Later(again)
    }

    /// The revision most visitors are meant for, which answers for requests that found no instance.
    pub(crate) fn main_revision(&self) -> Option<&Revision> {
        self.revisions.iter().max_by_key(|revision| revision.weight)
    }

    /// Whether a sticky cookie's name is one of this pool's instances.
    pub(crate) fn has_cookie(&self, cookie: u64) -> bool {
        self.revisions.iter().flat_map(|revision| &revision.instances).any(|instance| instance.cookie == cookie)
    }
}

/// The less busy of two usable instances drawn at random.
fn pick<'a>(
    revision: &'a Revision,
    random: &Random,
    usable: impl Fn(&Arc<Instance>) -> bool,
) -> Option<&'a Arc<Instance>> {
    let all = revision.instances.as_slice();
    if let [only] = all {
        return usable(only).then_some(only);
    }
    let first = draw(all, random, &usable)?;
    let second = draw(all, random, &usable)?;
    Some(if first.is_busier_than(second) { second } else { first })
}

fn draw<'a>(
    all: &'a [Arc<Instance>],
    random: &Random,
    usable: &impl Fn(&Arc<Instance>) -> bool,
) -> Option<&'a Arc<Instance>> {
    let start = random.index(all.len());
    all[start..].iter().chain(&all[..start]).find(|instance| usable(instance))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pool(revisions: &[(u32, usize)]) -> Pool {
        let mut number = 0;
        let mut make = |_| {
            number += 1;
            let address = ([127, 0, 0, 1], 1).into();
            Arc::new(Instance::new(&format!("i{number}"), address, number, None))
        };
        Pool {
            id: "p".into(),
            hold: Duration::ZERO,
            revisions: revisions
                .iter()
                .map(|(weight, count)| Revision {
                    weight: *weight,
                    instances: (0..*count).map(&mut make).collect(),
                    meter: Arc::new(Meter::new(1)),
                })
                .collect(),
        }
    }

    fn taken(pool: &Pool, random: &Random, sticky: Option<u64>, tried: &[u64]) -> Option<u64> {
        match pool.choose(random, sticky, tried, false, Instant::now()) {
            Choice::Take(instance, _) => Some(instance.number),
            Choice::Later(_) => None,
        }
    }

    #[test]
    fn revisions_share_by_weight() {
        let pool = pool(&[(1, 1), (3, 2)]);
        let random = Random::seeded(7);
        let first = (0..4000).filter(|_| taken(&pool, &random, None, &[]) == Some(1)).count();
        assert!((800..1200).contains(&first), "a quarter of 4000, got {first}");
    }

    #[test]
    fn a_sick_revision_lends_its_share() {
        let pool = pool(&[(1, 1), (3, 1)]);
        pool.revisions[1].instances[0].set_healthy(false);
        let random = Random::seeded(7);
        assert!((0..100).all(|_| taken(&pool, &random, None, &[]) == Some(1)));
        pool.revisions[0].instances[0].set_healthy(false);
        assert_eq!(taken(&pool, &random, None, &[]), None);
    }

    #[test]
    fn the_busier_of_two_is_left_alone() {
        let pool = pool(&[(1, 2)]);
        let random = Random::seeded(7);
        let _busy: Vec<_> = (0..5).map(|_| pool.revisions[0].instances[0].enter()).collect();
        let busy = (0..1000).filter(|_| taken(&pool, &random, None, &[]) == Some(1)).count();
        assert!(busy < 400, "only when drawn twice: a quarter, got {busy}");
    }

    #[test]
    fn another_host_gets_as_much_as_its_instances() {
        let mut pool = pool(&[(1, 2)]);
        let other = Arc::clone(&pool.revisions[0].instances[1]);
        other.stands_for(3);
        pool.revisions[0].instances.extend([Arc::clone(&other), other.clone()]);
        let random = Random::seeded(7);
        let there = (0..4000).filter(|_| taken(&pool, &random, None, &[]) == Some(2)).count();
        assert!((2800..3200).contains(&there), "three quarters of 4000, got {there}");
        let _busy: Vec<_> = [&pool.revisions[0].instances[0], &other, &other].iter().map(|one| one.enter()).collect();
        let here = (0..4000).filter(|_| taken(&pool, &random, None, &[]) == Some(1)).count();
        assert!(here < 400, "one request for one is more than two for three: a sixteenth, got {here}");
    }

    #[test]
    fn a_cookie_is_followed_until_its_instance_cannot_take_it() {
        let pool = pool(&[(1, 3)]);
        let random = Random::seeded(7);
        let wanted = &pool.revisions[0].instances[2];
        assert!((0..50).all(|_| taken(&pool, &random, Some(wanted.cookie), &[]) == Some(3)));
        wanted.pass_over(Instant::now());
        assert!((0..50).all(|_| taken(&pool, &random, Some(wanted.cookie), &[]) != Some(3)));
        assert_eq!(taken(&pool, &random, None, &[1, 2]), None);
    }
}
