//! Whether an instance is well: asked often until it is ready, then at its service's own pace.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use engine::desired::InstanceState;
use observe::probe::{Change, Probe, ProbeFailure, Threshold};
use stack::{Health, Service};

use crate::{
    container::Inside,
    revision::Loaded,
    shim::{Running, limits},
};

/// Between two looks while an instance starts: short at first, when most become ready.
const EAGER: Duration = Duration::from_millis(20);
/// Later.
const PATIENT: Duration = Duration::from_millis(100);
/// When "later" begins.
const EAGER_FOR: Duration = Duration::from_secs(2);
/// A service nobody can connect to is ready once it has run for this long.
const SETTLED: Duration = Duration::from_millis(300);
/// Between two looks at the memory.
const MEMORY_EVERY: Duration = Duration::from_secs(5);
/// The same where the kernel does not keep the limit.
const MEMORY_WATCH: Duration = Duration::from_millis(500);

/// An instance must be ended.
pub(crate) struct Unfit {
    /// Why.
    pub(crate) why: String,
    /// Starting it again will not help unless it worked before.
    pub(crate) hopeless: bool,
}

/// How instances of a service are asked for their health; `None`: nobody can connect to them.
pub(crate) fn health(service: &Service) -> Option<Probe> {
    Loaded::has_address(service).then(|| probe(service, service.health.as_ref().map(|health| health.path.clone())))
}

fn probe(service: &Service, path: Option<String>) -> Probe {
    let (every, timeout, up, down) = match &service.health {
        Some(Health { every, timeout, up, down, .. }) => (every.0, timeout.0, *up, *down),
        None => (Duration::from_secs(10), Duration::from_secs(2), 1, 3),
    };
    Probe { path, every, timeout, up, down }
}

/// Asks until the instance must be ended, and tells `seen` its state when that turns and its memory now and then.
///
/// `verdict`: it ran before the agent did, and this was the last that was known of it.
///
/// `inside`: it is a container, and the engine holds its limits.
pub(crate) async fn watch(
    running: &Running,
    inside: Option<Inside>,
    service: &Service,
    address: SocketAddr,
    verdict: Option<bool>,
    seen: &mut (dyn FnMut(Option<InstanceState>, Option<u64>) + Send),
) -> Unfit {
    let limit = service.size.memory.map(|memory| memory.max.0);
    let soft = limit.filter(|_| inside.is_none() && limits::support().memory == limits::Means::Soft);
    let mut meter = inside.clone();
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let memory = async {
        // what a program uses in its first moment says little
        let mut pause = Duration::from_secs(1);
        loop {
            let used = match &mut meter {
                Some(meter) => meter.memory().await,
                None => Some(running.usage().memory),
            };
            let _gone = used.map(|used| told.send(used));
            if let Some((limit, used)) = soft.zip(used).filter(|(limit, used)| used > limit) {
                let mb = |bytes: u64| bytes >> 20;
                return Unfit {
                    why: format!("it used {} MB of memory, and its limit is {} MB", mb(used), mb(limit)),
                    hopeless: false,
                };
            }
            tokio::time::sleep(if soft.is_some() { MEMORY_WATCH } else { pause }).await;
            pause = (2 * pause).min(MEMORY_EVERY);
        }
    };
    let (state_told, mut state_tell) = tokio::sync::mpsc::unbounded_channel();
    let asking = ask(service, address, inside, verdict, state_told);
    tokio::pin!(memory, asking);
    loop {
        tokio::select! {
            biased;
            Some(state) = state_tell.recv() => seen(Some(state), None),
            Some(used) = tell.recv() => seen(None, Some(used)),
            unfit = &mut memory => return unfit,
            unfit = &mut asking => return unfit,
        }
    }
}

async fn ask(
    service: &Service,
    address: SocketAddr,
    mut inside: Option<Inside>,
    verdict: Option<bool>,
    told: tokio::sync::mpsc::UnboundedSender<InstanceState>,
) -> Unfit {
    let tell = |state| drop(told.send(state));
    let Some(health) = health(service) else {
        if verdict.is_none() {
            tokio::time::sleep(SETTLED).await;
        }
        tell(InstanceState::Ready);
        return std::future::pending().await;
    };
    if verdict.is_none() {
        let ready = probe(service, service.ready.clone().or_else(|| health.path.clone()));
        if let Err(unfit) = until_ready(address, inside.as_mut(), &ready, service.start.0).await {
            return unfit;
        }
        tell(InstanceState::Ready);
    }
    let well = verdict.unwrap_or(true);
    let mut threshold = Threshold::new(health.up, health.down, well);
    if !well {
        tell(InstanceState::Unready { why: "it failed its probe before the agent was restarted".to_owned() });
    }
    // Bad answers in a row that were no answer at all: the program hangs.
    let mut silent = 0u32;
    loop {
        tokio::time::sleep(health.every).await;
        let answer = answer(address, inside.as_mut(), &health).await;
        silent = match &answer {
            Ok(()) | Err(ProbeFailure::Status { .. }) => 0,
            Err(_) => silent + 1,
        };
        match (threshold.record(answer.is_ok()), &answer) {
            (Some(Change::Up), _) => tell(InstanceState::Ready),
            (Some(Change::Down), Err(failure)) => tell(InstanceState::Unready { why: failure.to_string() }),
            _ => {}
        }
        if let Err(failure) = answer
            && silent >= health.down.saturating_mul(3)
        {
            return Unfit { why: format!("it does not answer its probe any more: {failure}"), hopeless: false };
        }
    }
}

/// Asks once. Where accepting a connection counts, somebody must listen in the container as well.
async fn answer(address: SocketAddr, inside: Option<&mut Inside>, probe: &Probe) -> Result<(), ProbeFailure> {
    observe::probe::ask(address, probe).await?;
    match inside.filter(|_| probe.path.is_none()) {
        Some(inside) => inside.listens().await.map_err(ProbeFailure::Connect),
        None => Ok(()),
    }
}

async fn until_ready(
    address: SocketAddr,
    mut inside: Option<&mut Inside>,
    probe: &Probe,
    deadline: Duration,
) -> Result<(), Unfit> {
    let began = Instant::now();
    let mut threshold = Threshold::new(probe.up, probe.down, false);
    loop {
        let answer = answer(address, inside.as_deref_mut(), probe).await;
        if threshold.record(answer.is_ok()) == Some(Change::Up) {
            return Ok(());
        }
        if began.elapsed() >= deadline {
            let path = probe.path.as_deref().unwrap_or("its port");
            let failure = match answer.err() {
                Some(failure @ ProbeFailure::Connect(_)) if inside.is_none() => {
                    format!(": {failure}; its program must listen on the port it is told in PORT ({})", address.port())
                }
                Some(failure) => format!(": {failure}"),
                None => String::new(),
            };
            return Err(Unfit {
                why: format!("it was not ready within {} s, asked at {path}{failure}", deadline.as_secs_f64()),
                hopeless: true,
            });
        }
        tokio::time::sleep(if began.elapsed() < EAGER_FOR { EAGER } else { PATIENT }).await;
    }
}
