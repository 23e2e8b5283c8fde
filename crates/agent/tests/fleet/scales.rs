//! Numbers of instances follow the load of real processes.

use std::{
    fs,
    time::{Duration, Instant},
};

use agent::protocol::Call;
use engine::desired::{InstanceState, Observed};

use crate::bed::{Bed, DEADLINE, eventually};

/// Busy while a file lies in the data folder.
const WORK: &str = r#"
while true; do
  if [ -e "$SLIPWAY_DATA/busy" ]; then
    i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
  else
    sleep 0.05
  fi
done
"#;

const SERVICE: &str = r#"
[service.worker]
run = "sh work.sh"
size = { cpu = "100m..300m", replicas = "1..3", scale_at = { cpu = 50 } }
"#;

fn ready(seen: &Observed) -> usize {
    seen.instances.iter().filter(|one| one.state == InstanceState::Ready).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_added_under_load_and_taken_away_after_it() {
    // proves S1.6, S2.10: replicas between min and max by CPU, shown in status
    let mut bed = Bed::new().await;
    // Look, add and take away sooner than outside of tests.
    fs::write(bed.path().join("pace"), "400 800 3000").unwrap();
    bed.kill_agent();
    bed.start_agent().await;
    let revision = bed.revision(SERVICE, &[("work.sh", WORK)], &[]).await;
    bed.deploy(&revision).await;
    let calm = bed.until("it was measured", |seen| seen.scaled.iter().any(|one| one.why.starts_with("CPU"))).await;
    let scaled = &calm.scaled[0];
    assert_eq!((scaled.replicas, scaled.min, scaled.max, ready(&calm)), (1, 1, 3, 1), "{scaled:?}");

    let busy = bed.folder().join("data/busy");
    fs::write(&busy, "").unwrap();
    let began = Instant::now();
    let seen = bed.until("three work", |seen| ready(seen) == 3).await;
    println!("from one to three {:?} after the load came: {}", began.elapsed(), seen.scaled[0].why);
    assert_eq!((seen.scaled[0].replicas, seen.expected[&revision]), (3, 3));

    // A restarted agent goes on with what it had.
    let pids: Vec<_> = seen.instances.iter().map(|one| one.pid).collect();
    bed.kill_agent();
    bed.start_agent().await;
    let seen = bed.until("it knows them again", |seen| seen.expected.contains_key(&revision) && ready(seen) == 3).await;
    assert_eq!(seen.expected[&revision], 3);
    assert_eq!(seen.instances.iter().map(|one| one.pid).collect::<Vec<_>>(), pids);

    fs::remove_file(&busy).unwrap();
    let began = Instant::now();
    bed.until("one is enough", |seen| seen.instances.len() == 1).await;
    println!("from three to one {:?} after the load went", began.elapsed());

    // While somebody deploys nothing changes by itself.
    let fence = bed.lock(DEADLINE).await;
    fs::write(&busy, "").unwrap();
    let began = Instant::now();
    eventually("some looks pass", || began.elapsed() > Duration::from_secs(2)).await;
    assert_eq!(bed.observe().await.scaled[0].replicas, 1);
    bed.call(Call::Unlock { fence }).await.unwrap();
    bed.until("more work again", |seen| ready(seen) > 1).await;
}
