//! Bodies in both directions: passed through frame by frame, with what must happen when they end or break.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    connection::{Ongoing, Pulse},
    file::FileBody,
    gate::Gate,
    instance::InFlight,
    leftovers::Leftover,
    traffic::Meter,
    upstream::Lent,
};

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The other side went away or broke the protocol.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// More than the rule's `max_body`.
    #[error("the body is longer than the route allows")]
    TooLong,
    /// A site's file could not be read to its end.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// A request's body and what became of it, kept where the request's future can look after the request was sent.
#[derive(Debug)]
pub(crate) struct BodyFate {
    /// There until the one who sends it is done with it.
    inner: RefCell<Option<Incoming>>,
    /// How often it was given to somebody to send: only the last may take from it.
    given: Cell<u32>,
    limit: Option<u64>,
    connection: Arc<Pulse>,
    /// HTTP/1, where the rest of a body stands between this request and the next.
    in_the_way: bool,
    /// A frame was taken, so the request cannot be sent again.
    pub(crate) begun: Cell<bool>,
    pub(crate) ended: Cell<bool>,
    pub(crate) too_long: Cell<bool>,
    /// The visitor's connection broke.
    pub(crate) broke: Cell<bool>,
}

/// A request's body on its way to an instance.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<Upload>);

#[derive(Debug)]
struct Upload {
    left: u64,
    fate: Rc<BodyFate>,
    /// Its number among those it was given to.
    turn: u32,
    /// Nothing is taken before it opens.
    gate: Option<Arc<Gate>>,
}

impl BodyFate {
    /// At most `limit` bytes of `inner`.
    pub(crate) fn new(inner: Incoming, limit: Option<u64>, connection: Arc<Pulse>, in_the_way: bool) -> Self {
        Self {
            inner: RefCell::new(Some(inner)),
            given: Cell::new(0),
            limit,
            connection,
            in_the_way,
            begun: Cell::new(false),
            ended: Cell::new(false),
            too_long: Cell::new(false),
            broke: Cell::new(false),
        }
    }
}

impl RequestBody {
    /// Nothing to send.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// To be sent from its beginning; whoever had it before gets nothing more of it.
    pub(crate) fn of(fate: &Rc<BodyFate>) -> Self {
        let turn = fate.given.get() + 1;
        fate.given.set(turn);
        Self(Some(Upload { left: fate.limit.unwrap_or(u64::MAX), fate: Rc::clone(fate), turn, gate: None }))
    }

    /// Nothing of it is taken before this gate opens, if there is one. Whether there is anything to take.
    pub(crate) fn wait_for(&mut self, gate: Option<Arc<Gate>>) -> bool {
        if let Some(upload) = &mut self.0 {
            upload.gate = gate;
        }
        self.0.is_some()
    }
}

impl Upload {
    /// Whether nobody else was given the body since.
    fn is_current(&self) -> bool {
        self.fate.given.get() == self.turn
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upload) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        if !upload.is_current() || upload.gate.as_ref().is_some_and(|gate| gate.poll(cx).is_pending()) {
            return Poll::Pending;
        }
        let Upload { left, fate, .. } = upload;
        let mut inner = fate.inner.borrow_mut();
        let Some(inner) = inner.as_mut() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(&mut *inner).poll_frame(cx) else {
            fate.connection.starving(true);
            return Poll::Pending;
        };
        fate.connection.starving(false);
        Poll::Ready(match frame {
            None => {
                fate.ended.set(true);
                None
            }
            Some(Err(error)) => {
                fate.broke.set(true);
                Some(Err(error.into()))
            }
            Some(Ok(frame)) => {
                fate.begun.set(true);
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(rest) = left.checked_sub(size) {
                    *left = rest;
                    if inner.is_end_stream() {
                        fate.ended.set(true);
                    }
                    Some(Ok(frame))
                } else {
                    fate.too_long.set(true);
                    Some(Err(BodyError::TooLong))
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.fate.inner.borrow().as_ref().is_none_or(Body::is_end_stream))
    }

    fn size_hint(&self) -> SizeHint {
        let Some(upload) = &self.0 else { return SizeHint::with_exact(0) };
        upload.fate.inner.borrow().as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_current() {
            return; // somebody else sends it now
        }
        let fate = &self.fate;
        fate.connection.starving(false);
        let rest = fate.inner.borrow_mut().take();
        if !fate.ended.get() && !fate.broke.get() && fate.in_the_way {
            fate.connection.expect_leftovers();
            if !fate.too_long.get()
                && let Some(rest) = rest
            {
                fate.connection.leave(Leftover::Body(rest));
            }
        }
    }
}

/// A response's body on its way to the visitor.
#[derive(Debug)]
pub(crate) struct EdgeBody {
    kind: Kind,
    /// Keeps the visitor's connection counted as busy.
    ongoing: Option<Ongoing>,
}

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Kind {
    Empty,
    Full(Option<Bytes>),
    Upstream(UpstreamBody),
    File(FileBody),
}

impl EdgeBody {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, ongoing: None }
    }

    pub(crate) fn set_ongoing(&mut self, ongoing: Ongoing) {
        self.ongoing = Some(ongoing);
    }
}

impl Body for EdgeBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Upstream(body) => {
                let frame = ready!(body.poll(cx));
                if let (Some(Err(_)), Some(ongoing)) = (&frame, &this.ongoing) {
                    // whatever HTTP version the visitor speaks, this must not look like the end
                    ongoing.abort();
                }
                Poll::Ready(frame)
            }
            Kind::File(body) => {
                let frame = ready!(body.poll(cx));
                if let (Some(Err(_)), Some(ongoing)) = (&frame, &this.ongoing) {
                    ongoing.abort();
                }
                Poll::Ready(frame.map(|frame| frame.map(Frame::data).map_err(BodyError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty | Kind::Full(None) => true,
            Kind::Full(Some(bytes)) => bytes.is_empty(),
            Kind::Upstream(body) => body.inner.is_end_stream(),
            Kind::File(body) => body.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty | Kind::Full(None) => SizeHint::with_exact(0),
            Kind::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Upstream(body) => body.inner.size_hint(),
            Kind::File(body) => SizeHint::with_exact(body.left()),
        }
    }
}

/// A body that an instance sends. When it ends the connection goes back to the worker's idle ones; when it is dropped
/// before its end (the visitor left) the connection is closed, which tells the instance to stop.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    pub(crate) inner: Incoming,
    lent: Option<Lent>,
    in_flight: Option<InFlight>,
    fate: Option<Rc<BodyFate>>,
    meter: Arc<Meter>,
    worker: usize,
}

impl UpstreamBody {
    pub(crate) fn new(
        inner: Incoming,
        lent: Lent,
        in_flight: InFlight,
        fate: Option<Rc<BodyFate>>,
        meter: Arc<Meter>,
        worker: usize,
    ) -> Self {
        let mut body = Self { inner, lent: Some(lent), in_flight: Some(in_flight), fate, meter, worker };
        if body.inner.is_end_stream() {
            body.finish();
        }
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            None => self.finish(),
            Some(Ok(_)) if self.inner.is_end_stream() => self.finish(),
            Some(Ok(_)) => {}
            Some(Err(_)) => {
                self.meter.broke(self.worker);
                self.lent = None;
                self.in_flight = None;
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn finish(&mut self) {
        if let Some(lent) = self.lent.take() {
            // an answer that came before the request's body was sent leaves the connection in the middle of it
            if self.fate.as_ref().is_none_or(|fate| fate.ended.get()) {
                lent.give_back();
            }
        }
        self.in_flight = None;
    }
}
