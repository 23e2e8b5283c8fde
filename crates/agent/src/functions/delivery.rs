//! One delivery: an event, a function, as many attempts as it may have.

use std::sync::Arc;

use stack::{Kind, ResourceRef};
use tokio_util::sync::CancellationToken;

use super::{
    dead::{self, DeadLetter},
    event::{CloudEvent, plain},
    passing::{self, Passed, Passing},
};
use crate::{
    environment::Environment,
    error::Error,
    host::Host,
    jobs::{self, Cause, Ended, Job, Left, PAST_LIMIT},
    revision::Loaded,
};

/// Whose events it is and where it runs.
#[derive(Clone)]
pub(crate) struct Receiver {
    /// The host.
    pub(crate) host: Arc<Host>,
    /// The environment.
    pub(crate) environment: Arc<Environment>,
    /// As in `function.parse`, `service.api` or `queue.mq`.
    pub(crate) to: ResourceRef,
}

impl Receiver {
    /// The release whose functions run now, when it has this receiver.
    pub(crate) fn release(&self) -> Option<Arc<Loaded>> {
        let revision = self.environment.desired().schedules?;
        let (scope, folder) = (&self.environment.scope, &self.environment.folder);
        let loaded = self.environment.revisions.get(&self.host.store, scope, folder, &revision).ok()?;
        let (stack, name) = (&loaded.resolved.stack, &self.to.name);
        let has = match self.to.kind {
            Kind::Function => stack.functions.contains_key(name),
            Kind::Service => stack.services.contains_key(name),
            Kind::Queue => stack.queues.contains_key(name),
            _ => false,
        };
        has.then_some(loaded)
    }

    /// A run of it for an event.
    pub(crate) fn job(&self, loaded: Arc<Loaded>, cause: Cause, event: Option<Arc<CloudEvent>>) -> Job {
        Job {
            host: self.host.clone(),
            environment: self.environment.clone(),
            loaded,
            name: self.to.clone(),
            replaced: CancellationToken::new(),
            cause,
            event,
            answers: false,
            claim: None,
        }
    }

    /// How often a delivery of `source` is tried again: as often as the function or the topic says. Services and queues
    /// say nothing.
    pub(crate) fn retries(&self, loaded: &Loaded, source: Option<&ResourceRef>) -> u32 {
        let stack = &loaded.resolved.stack;
        let own = stack.functions.get(&self.to.name).filter(|_| self.to.kind == Kind::Function);
        let topic = source.and_then(|source| stack.extras.get(source));
        let topic = topic.and_then(|topic| topic.settings.get("retries")?.as_u64());
        let topic = topic.and_then(|retries| u32::try_from(retries).ok());
        if self.to.kind == Kind::Function {
            own.map_or(0, |function| function.command.retries).max(topic.unwrap_or(0))
        } else {
            topic.unwrap_or(passing::RETRIES)
        }
    }

    /// Runs once when it is its turn, or waits for the run that an earlier agent began. Its run goes on when the
    /// future is dropped.
    pub(crate) async fn attempt(&self, job: Job, attempt: u32, left: Option<Left>) -> Result<Ended, Error> {
        let turns = self.environment.functions.turns(&job.loaded, &self.to.name);
        let turn = match &left {
            // It has its turn already.
            Some(_) => None,
            None => turns.acquire_owned().await.ok(),
        };
        let done = match left {
            Some(left) => job.go_on(left).await,
            None => job.attempt(attempt, jobs::id(&job.name)).await,
        };
        drop(turn);
        job.tell(attempt, &done);
        done
    }

    /// Keeps what could not be delivered. A disk that does not take it is tried again until it does.
    pub(crate) async fn give_up(&self, event: CloudEvent, why: String, attempts: u32) {
        let scope = &self.environment.scope;
        tracing::error!(%scope, to = %self.to, event = event.id, attempts, "given up: {why}");
        let letter = DeadLetter { at: jiff::Timestamp::now(), why, attempts, event };
        let about = format!("dead letters of {}", self.to);
        loop {
            let (folder, to, letter) = (self.environment.functions.sources.dead(), self.to.clone(), letter.clone());
            let buried = tokio::task::spawn_blocking(move || dead::bury(&folder, &to, &letter)).await;
            let buried = buried.map_err(|error| error.to_string()).and_then(|done| done.map_err(|it| it.to_string()));
            self.environment.trouble(&about, buried.as_ref().err().cloned());
            if buried.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
    }

    /// Tries every dead letter again, one after another. Those that fail once more stay.
    pub(crate) async fn redeliver(self) {
        let folder = self.environment.functions.sources.dead();
        let passing = Passing::default();
        for letter in dead::list(&folder, &self.to) {
            let Some(loaded) = self.release() else { return };
            let taken = if self.to.kind == Kind::Function {
                let job = self.job(loaded, Cause::Asked, Some(Arc::new(letter.event.clone())));
                let done = self.attempt(job, letter.attempts + 1, None).await;
                matches!(done, Ok(Ended { code: 0, .. }))
            } else {
                passing.pass(&self, &loaded, &letter.event).await == Passed::Taken
            };
            if taken && let Err(error) = dead::remove(&folder, &self.to, &letter) {
                tracing::error!(scope = %self.environment.scope, "{error}");
            }
        }
    }
}

/// How a failed run is told.
pub(crate) fn why(done: &Result<Ended, Error>) -> String {
    match done {
        Ok(Ended { code: PAST_LIMIT, .. }) => "it did not end within its `timeout`".to_owned(),
        Ok(Ended { code, .. }) => format!("exit code {code}"),
        Err(error) => error.to_string(),
    }
}

/// Whether a receiver wants an event of a source: the topic's filter, and of a function its prefix and its name.
pub(crate) fn wants(loaded: &Loaded, to: &ResourceRef, source: &ResourceRef, event: &CloudEvent) -> bool {
    let stack = &loaded.resolved.stack;
    let filter = stack.extras.get(source).and_then(|topic| topic.settings.get("filter")?.as_object());
    let passes = filter.is_none_or(|filter| {
        filter.iter().all(|(name, wanted)| {
            let found = event.attribute(name);
            let wanted = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
            found.is_some_and(|found| wanted.iter().any(|wanted| plain(wanted) == found))
        })
    });
    let function = stack.functions.get(&to.name).filter(|_| to.kind == Kind::Function);
    let trigger = function.and_then(|function| function.on.as_ref());
    let Some(trigger) = trigger.filter(|trigger| trigger.on == *source) else { return passes };
    let subject = event.subject.as_deref().unwrap_or_default();
    let prefix = trigger.prefix.as_ref().is_none_or(|prefix| subject.starts_with(prefix.as_str()));
    let short = event.kind.rsplit_once('.').map_or(event.kind.as_str(), |(_, last)| last);
    let name = match &trigger.event {
        Some(name) => *name == event.kind || name == short,
        // Stored is what a function of a bucket is for; removed objects are for those that ask.
        None => source.kind != Kind::Bucket || short == "object-created",
    };
    passes && prefix && name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_function_gets_only_the_events_it_asked_for() {
        let text = r#"
            app = "shop"
            [service.api]
            run = "true"
            [function.parse]
            run = "true"
            on = { bucket = "files", prefix = "resumes/" }
            [function.clean]
            run = "true"
            on = { bucket = "files", event = "object-removed" }
            [function.score]
            run = "true"
            on = { service = "api", event = "interview.completed" }
            [function.all]
            run = "true"
            on = { topic = "orders" }
            [bucket.files]
            [topic.orders]
            filter = { tenant = ["blue", "red"] }
            [environment.dev]
            target = "local"
        "#;
        let loaded = Loaded::of_text(text, "dev", 'a', &[]);
        let wants = |function: &str, source: &str, event: &CloudEvent| {
            super::wants(&loaded, &format!("function.{function}").parse().unwrap(), &source.parse().unwrap(), event)
        };
        let created = CloudEvent::new("/x", "slipway.bucket.object-created", json!({})).about("resumes/a.pdf");
        let mut removed = created.clone();
        removed.kind = "slipway.bucket.object-removed".to_owned();
        let other = created.clone().about("logos/a.png");
        assert!(wants("parse", "bucket.files", &created) && !wants("parse", "bucket.files", &other));
        assert!(!wants("parse", "bucket.files", &removed), "removed objects are for those that ask");
        assert!(wants("clean", "bucket.files", &removed) && !wants("clean", "bucket.files", &created));
        let completed = CloudEvent::new("/x", "interview.completed", json!({}));
        assert!(wants("score", "service.api", &completed) && !wants("score", "service.api", &created));
        let mut order = CloudEvent::new("/x", "order", json!({}));
        assert!(!wants("all", "topic.orders", &order));
        order.extensions.insert("tenant".to_owned(), json!("red"));
        assert!(wants("all", "topic.orders", &order));
        order.extensions.insert("tenant".to_owned(), json!("green"));
        assert!(!wants("all", "topic.orders", &order));
    }
}
