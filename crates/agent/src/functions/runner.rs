//! Looks after the functions of an environment: who subscribes to what, and where visitors are answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use stack::{Kind, ResourceName, ResourceRef, Revision};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{delivery::Receiver, http, queue, sources, subscription::Subscription};
use crate::{
    environment::Environment,
    host::Host,
    jobs::{self, Cause, Left},
    revision::Loaded,
};

/// How soon something that failed is tried again, and how often old events are removed.
const AGAIN: Duration = Duration::from_secs(5);

/// Where events come from, and the function, service or queue that they go to.
type Course = (ResourceRef, ResourceRef);

#[derive(Default)]
struct Runner {
    lives: JoinSet<Course>,
    courses: BTreeMap<Course, CancellationToken>,
    /// Addresses for visitors.
    listening: BTreeMap<(Revision, ResourceName), CancellationToken>,
    /// Runs of an earlier agent.
    left: BTreeMap<Course, BTreeMap<u64, Left>>,
}

/// Looks after the functions of an environment for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    let mut runner = Runner::default();
    runner.find_left(&host, &environment).await;
    let mut changes = environment.watch();
    loop {
        changes.mark_unchanged();
        let mut settled = environment.functions.publishing.serve(&host, &environment).await;
        settled &= runner.answer(&host, &environment).await;
        runner.subscribe(&host, &environment);
        tokio::select! {
            () = host.stopping.cancelled() => {
                // Runs go on without an agent.
                runner.lives.abort_all();
                return;
            }
            told = changes.changed() => if told.is_err() { return },
            Some(ended) = runner.lives.join_next() => match ended {
                Ok(course) => drop(runner.courses.remove(&course)),
                Err(error) => tracing::error!(scope = %environment.scope, "functions broke down: {error}"),
            },
            () = tokio::time::sleep(AGAIN), if !settled || !runner.courses.is_empty() => {}
        }
    }
}

impl Runner {
    /// What an earlier agent began: deliveries go on where they were; what somebody asked for once comes to its end.
    async fn find_left(&mut self, host: &Arc<Host>, environment: &Arc<Environment>) {
        for left in jobs::find_left(environment, |cause| *cause != Cause::Schedule).await {
            let of = left.of().clone();
            if let Cause::Delivery { source, number } = left.cause() {
                let (source, number) = (source.clone(), *number);
                self.left.entry((source, of)).or_default().insert(number, left);
                continue;
            }
            let (scope, folder) = (&environment.scope, &environment.folder);
            let read = environment.revisions.get(&host.store, scope, folder, left.revision());
            environment.trouble(&format!("runs of {of}"), read.as_ref().err().map(ToString::to_string));
            let Ok(loaded) = read else { continue };
            let receiver = Receiver { host: host.clone(), environment: environment.clone(), to: of.clone() };
            let job = receiver.job(loaded, Cause::Asked, None);
            tokio::spawn(async move {
                let done = job.go_on(left).await;
                job.tell(1, &done);
            });
        }
    }

    /// Opens and closes addresses for visitors. `false`: one could not be opened.
    async fn answer(&mut self, host: &Arc<Host>, environment: &Arc<Environment>) -> bool {
        let desired = environment.desired();
        let mut wanted = BTreeMap::new();
        for revision in desired.running.iter().chain(desired.traffic.keys()) {
            let Some(loaded) = load(host, environment, revision) else { continue };
            for function in routed(&loaded) {
                wanted.insert((revision.clone(), function), loaded.clone());
            }
        }
        let (mut settled, mut changed) = (true, false);
        for (of, loaded) in &wanted {
            if self.listening.contains_key(of) {
                continue;
            }
            let receiver = Receiver { host: host.clone(), environment: environment.clone(), to: function(&of.1) };
            let stop = CancellationToken::new();
            let opened = http::listen(receiver, loaded.clone(), stop.clone()).await;
            environment
                .trouble(&format!("visitors of function.{}", of.1), opened.as_ref().err().map(ToString::to_string));
            match opened {
                Ok(address) => {
                    environment.functions.listens(of.clone(), Some(address));
                    self.listening.insert(of.clone(), stop);
                    changed = true;
                }
                Err(_) => settled = false,
            }
        }
        let gone: Vec<_> = self.listening.keys().filter(|of| !wanted.contains_key(*of)).cloned().collect();
        for of in gone {
            let stop = self.listening.remove(&of);
            environment.functions.listens(of, None);
            let (host, number) = (host.clone(), environment.touch());
            tokio::spawn(async move {
                // First nobody is sent there any more.
                host.edge.applied(number).await;
                stop.inspect(CancellationToken::cancel);
            });
        }
        if changed {
            environment.touch();
        }
        settled
    }

    /// Begins and ends what brings events to functions.
    fn subscribe(&mut self, host: &Arc<Host>, environment: &Arc<Environment>) {
        let desired = environment.desired();
        let mut wanted: BTreeSet<Course> = self.left.keys().cloned().collect();
        let scheduled = desired.schedules.as_ref().and_then(|revision| load(host, environment, revision));
        if let Some(loaded) = &scheduled {
            for source in sources::all_of(loaded) {
                wanted.extend(sources::of_release(loaded, &source).into_iter().map(|to| (source.clone(), to)));
            }
            for (name, function) in &loaded.resolved.stack.functions {
                let queue = function.on.as_ref().filter(|trigger| trigger.on.kind == Kind::Queue);
                wanted.extend(queue.map(|trigger| (trigger.on.clone(), self::function(name))));
            }
        }
        // A release that cannot be read, and an environment at rest, keep what waits for them.
        if scheduled.is_some() {
            self.tidy(environment, &wanted);
        }
        for course in wanted {
            if self.courses.contains_key(&course) {
                continue;
            }
            let leave = CancellationToken::new();
            let (source, to) = course.clone();
            let receiver = Receiver { host: host.clone(), environment: environment.clone(), to };
            let (left, token) = (self.left.remove(&course).unwrap_or_default(), leave.clone());
            self.courses.insert(course.clone(), leave);
            self.lives.spawn(async move {
                if source.kind == Kind::Queue {
                    queue::run(receiver, source, token).await;
                } else {
                    Subscription { receiver, name: source, left, leave: token }.run().await;
                }
                course
            });
        }
    }

    fn tidy(&self, environment: &Arc<Environment>, wanted: &BTreeSet<Course>) {
        for (_, leave) in self.courses.iter().filter(|(course, _)| !wanted.contains(*course)) {
            leave.cancel();
        }
        let desired = environment.desired();
        for source in environment.functions.sources.known() {
            let mut keep = sources::subscribers(environment, &source);
            let complete = desired.running.iter().all(|revision| environment.revisions.find(revision).is_some());
            keep.extend(self.courses.keys().filter(|(name, _)| *name == source).map(|(_, to)| to.clone()));
            if complete {
                let tidied = environment.functions.sources.get(&source).and_then(|source| source.tidy(&keep));
                environment.trouble(&format!("events of {source}"), tidied.err().map(|error| error.to_string()));
            }
        }
    }
}

fn load(host: &Host, environment: &Environment, revision: &Revision) -> Option<Arc<Loaded>> {
    // The supervisor tells of a revision that cannot be read.
    environment.revisions.get(&host.store, &environment.scope, &environment.folder, revision).ok()
}

fn function(name: &ResourceName) -> ResourceRef {
    ResourceRef { kind: Kind::Function, name: name.clone() }
}

/// The functions that routes of a release lead to.
fn routed(loaded: &Loaded) -> BTreeSet<ResourceName> {
    let paths = loaded.resolved.stack.routes.iter().flat_map(|route| &route.paths);
    paths.filter(|path| path.to.kind == Kind::Function).map(|path| path.to.name.clone()).collect()
}
