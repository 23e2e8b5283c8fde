//! The deploy protocol in a simulated world.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use engine::sim::{
    mutant::Mutant,
    story::{Ending, run},
};

/// Runs `seeds` on every core; the first seed (by number) that broke a law, and the sums.
fn run_all(seeds: u64, mutant: Mutant, stop_at_first: bool) -> (Option<(u64, String)>, Ending) {
    let next = AtomicU64::new(0);
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let sums = Mutex::new(Ending::default());
    let workers = thread::available_parallelism().map_or(2, Into::into);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut mine = Ending::default();
                loop {
                    let first = next.fetch_add(100, Ordering::Relaxed);
                    if first >= seeds || (stop_at_first && found.lock().unwrap().is_some()) {
                        break;
                    }
                    for seed in first..(first + 100).min(seeds) {
                        let ending = run(seed, mutant, false);
                        mine.deploys += ending.deploys;
                        (0..3).for_each(|place| mine.outcomes[place] += ending.outcomes[place]);
                        mine.killed += ending.killed;
                        mine.recovered += ending.recovered;
                        mine.fenced += ending.fenced;
                        if let Some(law) = ending.violation {
                            let mut found = found.lock().unwrap();
                            if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                                *found = Some((seed, law));
                            }
                            break;
                        }
                    }
                }
                let mut sums = sums.lock().unwrap();
                sums.deploys += mine.deploys;
                (0..3).for_each(|place| sums.outcomes[place] += mine.outcomes[place]);
                sums.killed += mine.killed;
                sums.recovered += mine.recovered;
                sums.fenced += mine.fenced;
            });
        }
    });
    (found.into_inner().unwrap(), sums.into_inner().unwrap())
}

fn seed_of_environment() -> Option<u64> {
    std::env::var("SLIPWAY_SIM_SEED").ok()?.parse().ok()
}

// proves S4.P2, S4.P3, S4.P11, S4.E5: and the laws (a) to (g) of the simulator
#[test]
fn a_hundred_thousand_seeds() {
    let began = std::time::Instant::now();
    let (found, sums) = run_all(100_000, Mutant::None, false);
    println!(
        "100000 seeds in {:.1} s: {} deploys ({} succeeded, {} failed, {} rolled back), {} engines killed, {} deploys \
         recovered by the host, {} engines fenced off",
        began.elapsed().as_secs_f64(),
        sums.deploys,
        sums.outcomes[0],
        sums.outcomes[1],
        sums.outcomes[2],
        sums.killed,
        sums.recovered,
        sums.fenced
    );
    if let Some((seed, law)) = found {
        panic!("seed {seed}: {law}\n\n    SLIPWAY_SIM_SEED={seed} cargo test -p engine one_seed -- --nocapture\n");
    }
}

/// Tells the story of the seed in `SLIPWAY_SIM_SEED`, or of seed 1.
#[test]
fn one_seed() {
    let seed = seed_of_environment().unwrap_or(1);
    let ending = run(seed, Mutant::None, true);
    println!("seed {seed}");
    ending.story.iter().for_each(|line| println!("{line}"));
    assert_eq!(ending.violation, None, "seed {seed} breaks a law");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..200 {
        assert_eq!(run(seed, Mutant::None, true).story, run(seed, Mutant::None, true).story, "seed {seed}");
    }
}

#[test]
fn every_broken_world_is_found_out() {
    let mut unnoticed = Vec::new();
    for mutant in Mutant::ALL {
        match run_all(3000, mutant, true).0 {
            Some((seed, law)) => println!("{mutant:?} is found out at seed {seed}: {law}"),
            None => unnoticed.push(mutant),
        }
    }
    assert_eq!(unnoticed, [], "these went unnoticed for 3000 seeds");
}
