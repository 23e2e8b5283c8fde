//! Passing a request to an instance: sending, trying again, answering.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts, uri::PathAndQuery,
};
use hyper::body::{Body, Incoming};

use crate::{
    balance::Pool,
    body::{BodyFate, EdgeBody, Kind, RequestBody, UpstreamBody},
    gate::Gate,
    headers::{self, X_REQUEST_ID},
    link::{self, Link},
    page,
    request::{Asked, Origin},
    search::{Search, Taken},
    sticky, tunnel,
    upstream::Lent,
};

/// How often a request that may be repeated is sent, at most.
const ATTEMPTS: usize = 3;

/// Passes a request on. `pool` is the rule's; `normal` its path in normal form where that differs.
pub(crate) async fn forward(
    asked: Asked<'_>,
    pool: &Arc<Pool>,
    mut request: Request<Incoming>,
    normal: Option<String>,
) -> Response<EdgeBody> {
    let passing = asked.passing;
    if let Some(limit) = passing.max_body
        && asked.seen.content_length
        && request.body().size_hint().lower() > limit
    {
        return too_long(page::accept(request.headers()));
    }
    let upgrade = upgrade_token(&asked, &request);
    let tunnel = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let accept = page::accept(&head.headers).cloned();
    let accept = accept.as_ref();
    let known = if passing.sticky && asked.seen.cookie { sticky::read(&head.headers) } else { Vec::new() };
    if let Err(sentence) = rewrite(&asked, &mut head, normal.as_deref(), upgrade) {
        return page::answer(StatusCode::BAD_REQUEST, sentence, accept);
    }
    let (body, fate) = if body.is_end_stream() {
        (RequestBody::none(), None)
    } else {
        let pulse = Arc::clone(&asked.visitor.handle.pulse);
        let fate = Rc::new(BodyFate::new(body, passing.max_body, pulse, !asked.visitor.http2));
        (RequestBody::of(&fate), Some(fate))
    };
    let mut search = Search::new(&asked, pool, &known);
    let mut next = Some(Request::from_parts(head, body));
    let mut fresh = false;
    loop {
        let Some(request) = next.take() else { return search.bad_gateway(accept) };
        let Some(taken) = search.take().await else {
            return if search.sent { search.bad_gateway(accept) } else { search.unavailable(accept) };
        };
        let Some(mut lent) = search.connect(&taken.in_flight, fresh).await else {
            next = Some(request);
            continue;
        };
        let may_repeat = fate.is_none() && upgrade.is_none() && repeatable(request.method());
        let link = taken.in_flight.instance().link.as_ref();
        // the only copy of a head that is ever made, for requests that can be sent again if the connection dies, or if
        // another host says that it sent them to nobody
        let spare = (may_repeat || link.is_some()).then(|| copy(&request));
        let request = match link {
            Some(link) => marked(request, link),
            None => request,
        };
        match lent.sender.try_send_request(request).await {
            Ok(mut response) => {
                if let Some(unsent) = search.turned_away(&taken, &mut response)
                    && let Some(mut spare) = spare.filter(|_| may_repeat || (unsent && is_whole(fate.as_deref())))
                    && search.attempts < ATTEMPTS
                {
                    if let Some(fate) = &fate {
                        *spare.body_mut() = RequestBody::of(fate);
                    }
                    search.sent |= !unsent;
                    search.last = Some(taken.meter);
                    next = Some(spare);
                    continue;
                }
                let sticky = passing.sticky.then_some(known.as_slice());
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let Some(tunnel) = tunnel else {
                        search.last = Some(taken.meter);
                        return search.bad_gateway(accept); // nobody asked for another protocol
                    };
                    let cookie = sticky.and_then(|held| taken.cookie(held));
                    return tunnel::open(&asked, response, tunnel, lent, taken.in_flight, &taken.meter, cookie);
                }
                return pass_back(&asked, response, lent, taken, fate, sticky);
            }
            Err(error) => {
                if let Some(fate) = &fate {
                    if fate.too_long.get() {
                        taken.meter.record(asked.visitor.worker.number, 413, asked.started.elapsed());
                        return too_long(accept);
                    }
                    if fate.broke.get() {
                        // the visitor's side broke: nobody reads this
                        return page::empty(StatusCode::BAD_REQUEST);
                    }
                }
                // an idle connection may have died unnoticed, which says nothing about its instance
                fresh = lent.reused;
                let unsent = search.broke_off(taken, error, fresh, is_whole(fate.as_deref()));
                next = unsent.or(spare.filter(|_| may_repeat));
                if search.attempts >= ATTEMPTS {
                    next = None;
                }
            }
        }
    }
}

/// The instance's answer, with what is meant for our connection to it taken out.
fn pass_back(
    asked: &Asked<'_>,
    response: Response<Incoming>,
    lent: Lent,
    taken: Taken,
    fate: Option<Rc<BodyFate>>,
    sticky: Option<&[u64]>,
) -> Response<EdgeBody> {
    let worker = asked.visitor.worker.number;
    taken.meter.record(worker, response.status().as_u16(), asked.started.elapsed());
    let (mut head, body) = response.into_parts();
    headers::strip_response(&mut head.headers);
    head.version = Version::HTTP_11;
    if let Some(cookie) = sticky.and_then(|held| taken.cookie(held)) {
        head.headers.append(header::SET_COOKIE, cookie);
    }
    let body = UpstreamBody::new(body, lent, taken.in_flight, fate, taken.meter, worker);
    Response::from_parts(head, EdgeBody::new(Kind::Upstream(body)))
}

/// Makes a request's head what the instance should see.
fn rewrite(
    asked: &Asked<'_>,
    head: &mut Parts,
    normal: Option<&str>,
    upgrade: Option<&'static str>,
) -> Result<(), &'static str> {
    let protocol = upgrade.and_then(|_| head.headers.get(header::UPGRADE).cloned());
    headers::strip_request(&mut head.headers, asked.seen);
    if let (Some(token), Some(protocol)) = (upgrade, protocol) {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static(token));
        head.headers.insert(header::UPGRADE, protocol);
    }
    if asked.origin == Origin::Peer {
        return Ok(()); // the edge that the visitor came to has done the rest
    }
    if head.uri.authority().is_some() || head.version == Version::HTTP_10 {
        let local = asked.visitor.handle.listener.to_string();
        let host = if asked.host.is_empty() { HeaderValue::try_from(local).ok() } else { Some(asked.host.clone()) };
        if let Some(host) = host {
            head.headers.insert(header::HOST, host);
        }
    }
    if asked.visitor.http2 && asked.seen.cookie {
        join_cookies(&mut head.headers);
    }
    let (peer, trusted) = (&asked.visitor.peer_value, asked.client.trusted_peer);
    asked.client.announce(&mut head.headers, asked.seen.forwarded, peer, asked.host);
    if !(asked.seen.request_id && trusted) {
        head.headers.insert(X_REQUEST_ID, request_id(asked));
    }
    let strip = asked.passing.strip && !asked.passing.prefix.is_empty();
    if strip || head.uri.authority().is_some() {
        let path = target(&head.uri, strip.then_some(&*asked.passing.prefix), normal);
        head.uri =
            Uri::builder().path_and_query(path.as_str()).build().map_err(|_| "the address cannot be passed on")?;
    }
    head.version = Version::HTTP_11;
    Ok(())
}

/// HTTP/2 may send each cookie in a line of its own; HTTP/1.1 must not (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut http::HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(one) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, one);
    }
}

/// Path and query to ask the instance for. The prefix is cut from the path as it came if it begins with it as it
/// stands, and otherwise from its normal form.
fn target(uri: &Uri, strip: Option<&str>, normal: Option<&str>) -> String {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let Some(prefix) = strip else { return whole.to_owned() };
    let path = uri.path();
    let rest = match (normal, path.strip_prefix(prefix)) {
        (None, Some(rest)) => rest,
        _ => normal.unwrap_or(path).strip_prefix(prefix).unwrap_or(path),
    };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    match uri.query() {
        Some(query) => format!("{slash}{rest}?{query}"),
        None => format!("{slash}{rest}"),
    }
}

/// 128 random bits in hexadecimal.
fn request_id(asked: &Asked<'_>) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = &asked.visitor.worker.random;
    let number = (u128::from(random.next()) << 64) | u128::from(random.next());
    let mut text = [0; 32];
    for (place, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[usize::try_from((number >> (place * 4)) & 15).unwrap_or(0)];
    }
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// The `Connection` value for a request that asks for another protocol on a route that lets it.
fn upgrade_token(asked: &Asked<'_>, request: &Request<Incoming>) -> Option<&'static str> {
    (asked.seen.upgrade
        && asked.seen.connection
        && asked.passing.websocket
        && request.version() == Version::HTTP_11
        && headers::has_token(request.headers(), &header::CONNECTION, "upgrade"))
    .then_some("upgrade")
}

/// Safe methods and those that may be repeated (RFC 9110 section 9.2.2).
fn repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// Whether nothing of the body was taken, so that all of it can still be sent.
fn is_whole(fate: Option<&BodyFate>) -> bool {
    fate.is_none_or(|fate| !fate.begun.get())
}

/// Says which pool of another host is to answer, whatever the visitor wrote there. A body waits until an instance of
/// that host takes it: as long as none does, another host may be asked.
fn marked(mut request: Request<RequestBody>, link: &Link) -> Request<RequestBody> {
    request.headers_mut().insert(link::POOL, link.pool.clone());
    let gate = Arc::new(Gate::default());
    if request.body_mut().wait_for(Some(Arc::clone(&gate))) {
        request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                gate.open();
            }
        });
    }
    request
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// 413. The rest of the body is not read, so the connection cannot be used again.
fn too_long(accept: Option<&HeaderValue>) -> Response<EdgeBody> {
    let mut response =
        page::answer(StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than this address takes", accept);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
