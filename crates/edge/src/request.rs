//! One request from its head to the head of its answer.

use std::{convert::Infallible, rc::Rc, sync::atomic::Ordering::Relaxed, time::Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use crate::{
    access::Entry,
    body::EdgeBody,
    client::Client,
    connection::{Phase, Visitor},
    cors::Cors,
    headers::Present,
    page, proxy,
    routes::{self, Action, Passing, Rule},
    site,
    worker::Snapshot,
};

/// A longer request target is answered 414.
const MAX_TARGET: usize = 16 * 1024;

/// What is known of a request before anything is done with it.
pub(crate) struct Asked<'a> {
    pub(crate) visitor: &'a Visitor,
    pub(crate) snapshot: Rc<Snapshot>,
    pub(crate) passing: &'a Passing,
    pub(crate) client: &'a Client,
    pub(crate) origin: Origin,
    pub(crate) seen: Present,
    /// The `Host` as the visitor wrote it.
    pub(crate) host: &'a HeaderValue,
    pub(crate) started: Instant,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody out there.
    Visitor,
    /// The edge of another host, which took it from a visitor.
    Peer,
}

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(crate) async fn serve(visitor: Rc<Visitor>, request: Request<Incoming>) -> Result<Response<EdgeBody>, Infallible> {
    let started = Instant::now();
    let (ongoing, ambiguous) = visitor.begin();
    let worker = &visitor.worker;
    worker.shared.requests[worker.number].0.fetch_add(1, Relaxed);
    let entry = worker.access.as_ref().map(|_| Entry::begin(&visitor, &request));
    let mut response = if ambiguous {
        refuse(StatusCode::BAD_REQUEST, "both Content-Length and Transfer-Encoding were sent", &request)
    } else {
        answer(&visitor, request, started).await
    };
    if response.headers().contains_key(header::CONNECTION) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        visitor.handle.pulse.expect_leftovers(); // a refusal: what follows is not read any more
    }
    if !visitor.http2 && visitor.handle.phase() != Phase::Open && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let (Some(log), Some(entry)) = (&worker.access, entry) {
        log.write(&entry, response.status(), started.elapsed());
    }
    response.body_mut().set_ongoing(ongoing);
    Ok(response)
}

async fn answer(visitor: &Visitor, request: Request<Incoming>, started: Instant) -> Response<EdgeBody> {
    let snapshot = visitor.worker.snapshot();
    let routes = visitor.routes(&snapshot);
    let seen = Present::in_request(request.headers());
    let host = match host_value(&request) {
        Ok(host) => host,
        Err(sentence) => return refuse(StatusCode::BAD_REQUEST, sentence, &request),
    };
    let Some(name) = host.to_str().ok().and_then(routes::host_name) else {
        return refuse(StatusCode::BAD_REQUEST, "the Host header is not a host name", &request);
    };
    if let Some((status, sentence)) = unacceptable(&request, seen) {
        return refuse(status, sentence, &request);
    }
    let path = routes::normal_path(request.uri().path());
    let hosts = routes.table.hosts(visitor.handle.listener);
    let Some(rule) = hosts.and_then(|hosts| hosts.find(&name, &path)) else {
        return page::answer(
            StatusCode::NOT_FOUND,
            "nothing is served at this address",
            page::accept(request.headers()),
        );
    };
    let client = Client::find(visitor.peer.ip(), request.headers(), &snapshot.table.trusted, seen.forwarded);
    let origin = rule.cors.as_ref().and_then(|_| request.headers().get(header::ORIGIN).cloned());
    let mut response = if let Some(wait) = rule.limit.as_ref().and_then(|limit| limit.take(client.ip).err()) {
        let mut response = page::answer(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests, please wait a moment",
            page::accept(request.headers()),
        );
        page::retry_after(&mut response, wait);
        response
    } else if let Some(cors) = rule.cors.as_ref().filter(|_| Cors::is_preflight(request.method(), request.headers())) {
        let mut response = page::empty(StatusCode::NO_CONTENT);
        cors.preflight(request.headers(), response.headers_mut());
        return finish(response, rule);
    } else {
        match &rule.action {
            Action::Redirect(scheme, to) => redirect(&request, scheme.as_deref(), to, &client),
            Action::Report(report) => report.answer(request.method()).await,
            Action::Site(site) => {
                let site = snapshot.table.current_site(site);
                site::answer(visitor, client.ip, &site, rule, &request, &path, started).await
            }
            Action::Pool(pool) => {
                let asked = Asked {
                    visitor,
                    snapshot: Rc::clone(&snapshot),
                    passing: &rule.passing,
                    client: &client,
                    origin: Origin::Visitor,
                    seen,
                    host: &host,
                    started,
                };
                let normal = match &path {
                    std::borrow::Cow::Borrowed(_) => None,
                    std::borrow::Cow::Owned(path) => Some(path.clone()),
                };
                proxy::forward(asked, pool, request, normal).await
            }
        }
    };
    if let Some(cors) = &rule.cors {
        cors.apply(origin.as_ref(), response.headers_mut());
    }
    finish(response, rule)
}

/// Adds the rule's headers unless the application set them (S4.P9).
fn finish(mut response: Response<EdgeBody>, rule: &Rule) -> Response<EdgeBody> {
    let headers = response.headers_mut();
    for (name, value) in &rule.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// The host a request is for: the target's authority (HTTP/2 and absolute form) before the header (RFC 9112
/// section 3.2.2). HTTP/1.0 may do without.
fn host_value(request: &Request<Incoming>) -> Result<HeaderValue, &'static str> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err("more than one Host header was sent");
    }
    if let Some(authority) = request.uri().authority() {
        return HeaderValue::from_str(authority.as_str()).map_err(|_| "the request target is not an address");
    }
    match first {
        Some(host) => Ok(host.clone()),
        None if request.version() == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        None => Err("the Host header is missing"),
    }
}

/// Requests that are refused whatever the route.
fn unacceptable(request: &Request<Incoming>, seen: Present) -> Option<(StatusCode, &'static str)> {
    if request.method() == Method::CONNECT {
        return Some((StatusCode::NOT_IMPLEMENTED, "this is not a forward proxy"));
    }
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > MAX_TARGET {
        return Some((StatusCode::URI_TOO_LONG, "the address is too long"));
    }
    if seen.transfer_encoding {
        let mut lines = request.headers().get_all(header::TRANSFER_ENCODING).iter();
        let chunked = lines.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || lines.next().is_some() {
            return Some((StatusCode::NOT_IMPLEMENTED, "only the transfer coding `chunked` is understood"));
        }
    }
    None
}

/// An answer after which the connection is not used any more, as where the next request begins is not certain.
fn refuse(status: StatusCode, sentence: &str, request: &Request<Incoming>) -> Response<EdgeBody> {
    let mut response = page::answer(status, sentence, page::accept(request.headers()));
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// 308 keeps method and body (RFC 9110 section 15.4.9).
fn redirect(request: &Request<Incoming>, scheme: Option<&str>, to: &str, client: &Client) -> Response<EdgeBody> {
    let scheme = scheme.unwrap_or(if client.https { "https" } else { "http" });
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let Ok(location) = HeaderValue::try_from(format!("{scheme}://{to}{target}")) else {
        return refuse(StatusCode::BAD_REQUEST, "the address cannot be redirected", request);
    };
    let mut response = page::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(header::LOCATION, location);
    response
}
