//! The search for an instance that takes a request: choosing, waiting, noting who failed.

use std::{pin::pin, rc::Rc, sync::Arc, time::Instant};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, client::conn::TrySendError};

use crate::{
    balance::{Choice, Pool},
    body::{EdgeBody, RequestBody},
    instance::InFlight,
    link, page,
    request::{Asked, Origin},
    sticky,
    traffic::Meter,
    upstream::Lent,
    worker::Snapshot,
};

/// An instance that was chosen, and is counted as busy from here on.
pub(crate) struct Taken {
    pub(crate) in_flight: InFlight,
    pub(crate) meter: Arc<Meter>,
    cookie: u64,
    pool: Arc<Pool>,
    snapshot: Rc<Snapshot>,
}

impl Taken {
    /// The cookie that keeps the visitor here, unless it holds it already.
    pub(crate) fn cookie(&self, held: &[u64]) -> Option<HeaderValue> {
        if held.contains(&self.cookie) {
            return None;
        }
        sticky::write(held, self.cookie, &self.pool.id, &self.snapshot.table)
    }
}

/// The search for an instance that takes the request, over tables and failures.
pub(crate) struct Search<'a> {
    asked: &'a Asked<'a>,
    pool: Arc<Pool>,
    snapshot: Rc<Snapshot>,
    held: &'a [u64],
    /// Instances that failed this request, by number.
    tried: Vec<u64>,
    pub(crate) attempts: usize,
    /// Some of the request may have reached an instance.
    pub(crate) sent: bool,
    /// Counts the answer if there will be none.
    pub(crate) last: Option<Arc<Meter>>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(asked: &'a Asked<'a>, pool: &Arc<Pool>, held: &'a [u64]) -> Self {
        let snapshot = Rc::clone(&asked.snapshot);
        // a connection on a listener that left the table still knows its old pool
        let pool = snapshot.table.current_pool(pool);
        Self { asked, pool, snapshot, held, tried: Vec::new(), attempts: 0, sent: false, last: None }
    }

    /// Takes an instance, waiting for one as long as the pool holds requests. `None`: there is none.
    pub(crate) async fn take(&mut self) -> Option<Taken> {
        let worker = &self.asked.visitor.worker;
        if !self.tried.is_empty() {
            self.refresh(); // others may have come while it waited for one that failed
        }
        loop {
            if let Some(taken) = self.try_take(false) {
                return Some(taken);
            }
            let now = Instant::now();
            let deadline = self.asked.started + self.pool.hold;
            if now >= deadline {
                // nothing better will come: those passed over are asked once more
                return self.try_take(true);
            }
            self.tried.clear(); // who failed a moment ago may be back before the deadline
            let mut changed = pin!(worker.shared.changed.notified());
            changed.as_mut().enable(); // before the look, so that no change is missed
            self.refresh();
            let again = match self.pool.choose(&worker.random, None, &self.tried, false, now) {
                Choice::Take(..) => continue,
                Choice::Later(again) => again.map_or(deadline, |again| again.min(deadline)),
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(again.into()) => {}
            }
            self.refresh();
        }
    }

    fn try_take(&mut self, desperate: bool) -> Option<Taken> {
        let worker = &self.asked.visitor.worker;
        loop {
            let sticky = self.held.iter().copied().find(|name| self.pool.has_cookie(*name));
            let choice = self.pool.choose(&worker.random, sticky, &self.tried, desperate, Instant::now());
            let Choice::Take(instance, revision) = choice else { return None };
            let in_flight = instance.enter();
            if worker.shared.epoch() == self.snapshot.epoch {
                return Some(Taken {
                    cookie: instance.cookie,
                    in_flight,
                    meter: Arc::clone(&revision.meter),
                    pool: Arc::clone(&self.pool),
                    snapshot: Rc::clone(&self.snapshot),
                });
            }
            drop(in_flight);
            self.refresh();
        }
    }

    fn refresh(&mut self) {
        let fresh = self.asked.visitor.worker.snapshot();
        if fresh.epoch != self.snapshot.epoch {
            self.pool = fresh.table.current_pool(&self.pool);
            self.snapshot = fresh;
        }
    }

    /// A connection to the instance, or a note that it took none.
    pub(crate) async fn connect(&mut self, in_flight: &InFlight, fresh: bool) -> Option<Lent> {
        let instance = in_flight.instance();
        match self.asked.visitor.worker.upstreams.lend(instance, fresh).await {
            Ok(lent) => {
                if instance.accepted() {
                    self.asked.visitor.worker.shared.changed.notify_waiters();
                }
                Some(lent)
            }
            Err(error) => {
                tracing::debug!(instance = instance.id, %error, "no connection");
                instance.pass_over(Instant::now());
                self.tried.push(instance.number);
                None
            }
        }
    }

    /// Whether another host answered itself instead of one of its instances, and if so whether it sent the request to
    /// none of them.
    pub(crate) fn turned_away(&mut self, taken: &Taken, response: &mut Response<Incoming>) -> Option<bool> {
        let instance = taken.in_flight.instance();
        if self.asked.origin == Origin::Peer {
            response.headers_mut().remove(link::PEER); // only an edge may say that
            return None;
        }
        instance.link.as_ref()?;
        let unsent = response.headers_mut().remove(link::PEER)? == link::UNSENT;
        if unsent {
            instance.pass_over(Instant::now());
        }
        self.tried.push(instance.number);
        self.attempts += 1;
        Some(unsent)
    }

    /// Notes that an instance broke off before it answered. Returns the request if nothing of it was sent; `whole`:
    /// nothing of its body was taken.
    pub(crate) fn broke_off(
        &mut self,
        taken: Taken,
        mut error: TrySendError<Request<RequestBody>>,
        reused: bool,
        whole: bool,
    ) -> Option<Request<RequestBody>> {
        let instance = taken.in_flight.instance();
        tracing::debug!(instance = instance.id, error = %error.error(), "request failed");
        if !reused {
            self.tried.push(instance.number);
        }
        self.attempts += 1;
        self.last = Some(taken.meter);
        let Some(mut unsent) = error.take_message().filter(|_| whole) else {
            self.sent = true;
            return None;
        };
        if instance.link.is_some() {
            unsent.headers_mut().remove(link::POOL);
            unsent.headers_mut().remove(header::EXPECT);
            unsent.body_mut().wait_for(None);
        }
        Some(unsent)
    }

    /// 503: nothing of the request was sent to anybody.
    pub(crate) fn unavailable(&self, accept: Option<&HeaderValue>) -> Response<EdgeBody> {
        let sentence = "the service is not available at the moment, please try again shortly";
        let mut response = page::answer(StatusCode::SERVICE_UNAVAILABLE, sentence, accept);
        page::retry_after(&mut response, std::time::Duration::from_secs(1));
        self.record(503);
        if self.asked.origin == Origin::Peer {
            response.headers_mut().insert(link::PEER, link::UNSENT);
        }
        response
    }

    /// 502: it was sent and not answered.
    pub(crate) fn bad_gateway(&self, accept: Option<&HeaderValue>) -> Response<EdgeBody> {
        self.record(502);
        let mut response = page::answer(StatusCode::BAD_GATEWAY, "the service broke off before it answered", accept);
        if self.asked.origin == Origin::Peer {
            response.headers_mut().insert(link::PEER, link::BROKE);
        }
        response
    }

    fn record(&self, status: u16) {
        let meter = self.last.as_ref().or_else(|| self.pool.main_revision().map(|revision| &revision.meter));
        if let Some(meter) = meter {
            meter.record(self.asked.visitor.worker.number, status, self.asked.started.elapsed());
        }
    }
}
