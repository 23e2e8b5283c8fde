//! The edge's own answers: small, plain, and HTML only for those who read it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::body::{EdgeBody, Kind};

/// An answer with a body of our own.
pub(crate) fn answer(status: StatusCode, sentence: &str, accept: Option<&HeaderValue>) -> Response<EdgeBody> {
    let title = status.canonical_reason().unwrap_or("Error");
    let (kind, text) = if accept.is_some_and(is_html) {
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code} {title}</title>\n\
             <meta name=\"viewport\" content=\"width=device-width\"></head>\n\
             <body style=\"font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem\">\n\
             <h1>{title}</h1><p>{sentence}</p></body></html>\n",
            code = status.as_u16(),
        );
        ("text/html; charset=utf-8", page)
    } else {
        ("text/plain; charset=utf-8", format!("{} {title}: {sentence}\n", status.as_u16()))
    };
    let mut response = Response::new(EdgeBody::new(Kind::Full(Some(Bytes::from(text)))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<EdgeBody> {
    let mut response = Response::new(EdgeBody::new(Kind::Empty));
    *response.status_mut() = status;
    response
}

/// Seconds, rounded up, at least one.
pub(crate) fn retry_after(response: &mut Response<EdgeBody>, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
}

/// Whether an `Accept` value names HTML, as browsers do when they open a page. `*/*` alone is a program or an asset.
pub(crate) fn is_html(accept: &HeaderValue) -> bool {
    accept.to_str().is_ok_and(|value| {
        value.split(',').any(|one| {
            let mut parts = one.split(';');
            let kind = parts.next().unwrap_or("").trim();
            let refused = parts.any(|part| {
                part.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
            });
            !refused && (kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml"))
        })
    })
}

/// What a visitor reads, for [`answer`].
pub(crate) fn accept(request: &HeaderMap) -> Option<&HeaderValue> {
    request.get(header::ACCEPT)
}
