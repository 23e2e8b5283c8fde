//! How the engine treats a target that does not answer, and what runtimes may do with its futures.

use std::{
    future::ready,
    pin::pin,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use engine::{
    clock::Clock,
    deployment::{Begin, Deployment, Report},
    desired::{Desired, Observed},
    error::EngineError,
    journal::{DeployKind, Entry, Outcome, Step},
    policy::Policy,
    recover::{Recovered, recover},
    target::{Fence, Target, TargetError, Task, TaskEnd},
    watcher::{Progress, Silent, Watcher},
};
use stack::Revision;

/// A clock that jumps: whoever sleeps has slept.
#[derive(Default)]
struct Jumping(AtomicU64);

impl Clock for Jumping {
    fn now(&self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0.load(Ordering::Relaxed)).expect("short");
        jiff::Timestamp::from_millisecond(millis).expect("a time")
    }

    async fn sleep(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).expect("short"), Ordering::Relaxed);
    }
}

/// Gives the lease and then answers nothing more than `answers` times.
#[derive(Default)]
struct Mute {
    answers: u32,
    asked: AtomicU32,
}

impl Mute {
    fn answer<T>(&self, value: T) -> Result<T, TargetError> {
        if self.asked.fetch_add(1, Ordering::Relaxed) < self.answers {
            return Ok(value);
        }
        Err(TargetError::Unreachable { host: "web1".to_owned(), reason: "connection refused".to_owned() })
    }
}

impl Target for Mute {
    async fn lock(&self, _: &str, _: Duration) -> Result<Fence, TargetError> {
        Ok(Fence(1))
    }
    async fn renew(&self, _: Fence, _: Duration) -> Result<(), TargetError> {
        Ok(())
    }
    async fn unlock(&self, _: Fence) -> Result<(), TargetError> {
        Ok(())
    }
    async fn observe(&self) -> Result<Observed, TargetError> {
        self.answer(Observed::default())
    }
    async fn ship(&self, _: &Revision, _: Fence) -> Result<(), TargetError> {
        self.answer(())
    }
    async fn want(&self, _: &Desired, _: Fence) -> Result<(), TargetError> {
        self.answer(())
    }
    async fn task(&self, _: &Task, _: Fence) -> Result<TaskEnd, TargetError> {
        self.answer(TaskEnd::Done)
    }
    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        self.answer(vec![])
    }
    async fn append(&self, _: &Entry, _: Fence) -> Result<(), TargetError> {
        self.answer(())
    }
}

/// Runs a future that never has to wait for anybody else.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

#[test]
fn a_host_that_does_not_answer_is_tried_for_the_whole_patience_and_the_error_says_so() {
    let (target, clock) = (Mute::default(), Jumping::default());
    let mut watcher = Silent;
    let begun = run(Deployment::begin(&target, &clock, Begin::new(DeployKind::Deploy, "ada@laptop"), &mut watcher));
    let Err(error) = begun else { panic!("it cannot begin") };
    let EngineError::Unreachable { ref host, tries, millis, .. } = error else { panic!("{error}") };
    assert_eq!(host, "web1");
    assert!((25_000..=30_000).contains(&millis), "{millis} ms");
    assert!((10..30).contains(&tries), "{tries} tries");
    let text = error.to_string();
    assert!(text.starts_with("could not read the journal: web1 does not answer: connection refused (tried "), "{text}");
}

#[test]
fn a_deploy_without_a_release_is_refused() {
    let (target, clock) = (Mute { answers: u32::MAX, ..Mute::default() }, Jumping::default());
    let mut watcher = Silent;
    let ended = run(async {
        let begin = Begin::new(DeployKind::Deploy, "ada@laptop");
        Deployment::begin(&target, &clock, begin, &mut watcher).await?.run(&Policy::default()).await
    });
    assert_eq!(ended, Err(EngineError::NothingWanted));
}

/// Counts steps.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Watcher for Steps {
    fn see(&mut self, progress: &Progress<'_>) {
        if let Progress::StepStarted { step } = progress {
            self.0.push(*step);
        }
    }
}

// proves S4.E1: a failed build ends the deploy with its reason; nothing has changed
#[test]
fn a_failed_build_ends_the_deploy_with_its_reason() {
    let (target, clock) = (Mute { answers: u32::MAX, ..Mute::default() }, Jumping::default());
    let mut watcher = Steps::default();
    let report: Report = run(async {
        let begin = Begin::new(DeployKind::Deploy, "ada@laptop");
        let mut deployment = Deployment::begin(&target, &clock, begin, &mut watcher).await?;
        let built = deployment.step(Step::Build, ready(Err::<(), _>("tsc: 1 error"))).await?;
        deployment.fail(Some(Step::Build), built.expect_err("it failed")).await
    })
    .expect("it ends in an orderly way");
    let reason = "tsc: 1 error".to_owned();
    assert_eq!(report.outcome, Outcome::Failed { step: Some(Step::Build), reason });
    assert_eq!(watcher.0, [Step::Build]);
}

/// An agent runs these on a runtime with many threads.
#[test]
fn every_future_may_move_between_threads() {
    fn movable<T: Send>(future: T) -> T {
        future
    }
    let (target, clock) = (Mute { answers: u32::MAX, ..Mute::default() }, Jumping::default());
    let (mut one, mut two, policy) = (Silent, Silent, Policy::default());
    let recovered = movable(recover(&target, &clock, "host", Duration::from_secs(3), &policy, &mut one));
    assert_eq!(run(recovered), Ok(Recovered::Nothing));
    let whole = movable(async {
        let mut deployment =
            Deployment::begin(&target, &clock, Begin::new(DeployKind::Deploy, "ada@laptop"), &mut two).await?;
        let _ = deployment.step(Step::Build, ready(Ok::<_, String>(()))).await?;
        deployment.wanted(None, "1.0.0", 1, None).await?;
        deployment.run(&Policy::default()).await
    });
    drop(whole);
}
