//! One file over HTTP: encodings, conditions and ranges (RFC 9110 sections 12 to 14).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    body::{EdgeBody, Kind},
    cors, page,
    site::{File, Variant},
    worker::Worker,
};

/// Answers GET or HEAD for a file.
pub(crate) async fn answer(worker: &Worker, file: &File, request: &Request<Incoming>) -> Response<EdgeBody> {
    let asked = request.headers();
    let (coding, variant, slot) = choose(file, asked);
    let mut response = match precondition(asked, file, variant) {
        Some(status) => page::empty(status),
        None => match range(request, file, variant) {
            Wanted::Whole => content(worker, file, variant, slot, 0, variant.size, request.method()).await,
            Wanted::Part(from, to) => {
                let mut part = content(worker, file, variant, slot, from, to, request.method()).await;
                if part.status() == StatusCode::OK {
                    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
                    let text = format!("bytes {from}-{}/{}", to - 1, variant.size);
                    insert(part.headers_mut(), header::CONTENT_RANGE, &text);
                }
                part
            }
            Wanted::Nothing => {
                let mut response = page::empty(StatusCode::RANGE_NOT_SATISFIABLE);
                insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", variant.size));
                response
            }
        },
    };
    if response.status().is_server_error() {
        return response;
    }
    let has_content = response.status().is_success();
    let headers = response.headers_mut();
    headers.insert(header::ETAG, variant.etag.clone());
    headers.insert(header::LAST_MODIFIED, file.last_modified.clone());
    headers.insert(header::CACHE_CONTROL, file.cache_control.clone());
    if !file.encoded.is_empty() {
        cors::vary(headers, "Accept-Encoding");
    }
    if has_content {
        headers.insert(header::CONTENT_TYPE, file.content_type.clone());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
    }
    response
}

/// The bytes from `from` up to `to`, or their length alone for HEAD.
async fn content(
    worker: &Worker,
    file: &File,
    variant: &Variant,
    slot: u64,
    from: u64,
    to: u64,
    method: &Method,
) -> Response<EdgeBody> {
    let kind = if method == Method::HEAD {
        Ok(Kind::Empty)
    } else {
        worker.files.read(file.number + slot, &file.path, variant.suffix, variant.size, from..to).await
    };
    match kind {
        Ok(kind) => {
            let mut response = Response::new(EdgeBody::new(kind));
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
            response
        }
        Err(error) => {
            tracing::error!(file = %file.path.display(), suffix = variant.suffix, %error, "cannot read a site's file");
            page::answer(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read at the moment", None)
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

/// The encoding a client likes best (RFC 9110 section 12.5.3); where it likes several equally, the smallest.
fn choose<'a>(file: &'a File, asked: &HeaderMap) -> (Option<&'static str>, &'a Variant, u64) {
    let plain = (None, &file.plain, 0);
    if file.encoded.is_empty() || !asked.contains_key(header::ACCEPT_ENCODING) {
        return plain;
    }
    let (mut best, mut best_liking) = (plain, 0);
    for (slot, (coding, variant)) in (1..).zip(&file.encoded) {
        let liking = liking(asked, coding).unwrap_or(0);
        if liking > best_liking {
            (best, best_liking) = ((Some(*coding), variant, slot), liking);
        }
    }
    // no encoding at all is always acceptable, but preferred only when that is said
    if liking(asked, "identity").is_some_and(|liking| liking > best_liking) { plain } else { best }
}

/// The weight of a coding in thousandths; `None` when neither it nor `*` is named.
fn liking(asked: &HeaderMap, coding: &str) -> Option<u32> {
    let mut any = None;
    for value in asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for one in value.split(',') {
            let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
            let (name, weight) = (name.trim(), weight(parameters));
            if name.eq_ignore_ascii_case(coding) {
                return Some(weight);
            }
            if name == "*" {
                any = Some(weight);
            }
        }
    }
    // `*` speaks for identity only to forbid it, which is not obeyed: an answer is better than none
    any.filter(|_| coding != "identity")
}

/// `q` in thousandths: it has at most three digits after the point (RFC 9110 section 12.4.2).
fn weight(parameters: &str) -> u32 {
    let q = parameters.split(';').find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(q) = q else { return 1000 };
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let thousandths = format!("{fraction:0<3}").get(..3).and_then(|digits| digits.parse::<u32>().ok());
    match (whole, thousandths) {
        ("1", Some(_)) => 1000,
        ("0", Some(thousandths)) => thousandths,
        _ => 0,
    }
}

/// What the conditions of a request lead to, in the order of RFC 9110 section 13.2.2; `None`: go on.
fn precondition(asked: &HeaderMap, file: &File, variant: &Variant) -> Option<StatusCode> {
    if asked.contains_key(header::IF_MATCH) {
        if !listed(asked, &header::IF_MATCH, &variant.etag, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if date(asked, &header::IF_UNMODIFIED_SINCE).is_some_and(|since| file.modified > since) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if asked.contains_key(header::IF_NONE_MATCH) {
        if listed(asked, &header::IF_NONE_MATCH, &variant.etag, true) {
            return Some(StatusCode::NOT_MODIFIED);
        }
    } else if asked.get(header::IF_MODIFIED_SINCE) == Some(&file.last_modified)
        || date(asked, &header::IF_MODIFIED_SINCE).is_some_and(|since| file.modified <= since)
    {
        return Some(StatusCode::NOT_MODIFIED);
    }
    None
}

/// Whether a list of entity tags holds this one; `weak` overlooks `W/`, which caches on the way may have added.
fn listed(asked: &HeaderMap, name: &HeaderName, etag: &HeaderValue, weak: bool) -> bool {
    asked.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || (if weak { one.strip_prefix("W/").unwrap_or(one) } else { one }).as_bytes() == etag.as_bytes()
    })
}

enum Wanted {
    Whole,
    /// From the first byte up to, but not including, the second.
    Part(u64, u64),
    /// Beyond the end.
    Nothing,
}

/// A single range (RFC 9110 section 14.2); several, or what is not understood, get the whole file.
fn range(request: &Request<Incoming>, file: &File, variant: &Variant) -> Wanted {
    let asked = request.headers();
    let Some(value) = asked.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Wanted::Whole };
    if request.method() != Method::GET {
        return Wanted::Whole;
    }
    if let Some(condition) = asked.get(header::IF_RANGE)
        && *condition != variant.etag
        && *condition != file.last_modified
    {
        return Wanted::Whole;
    }
    parse_range(value, variant.size)
}

fn parse_range(value: &str, size: u64) -> Wanted {
    let unit = value.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = unit.and_then(|(_, range)| range.trim().split_once('-')) else { return Wanted::Whole };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // numbers too large for us are larger than any file
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", last) if digits(last) => match number(last) {
            0 => Wanted::Nothing,
            _ if size == 0 => Wanted::Nothing,
            count => Wanted::Part(size.saturating_sub(count), size),
        },
        (first, "") if digits(first) => {
            let first = number(first);
            if first < size { Wanted::Part(first, size) } else { Wanted::Nothing }
        }
        (first, last) if digits(first) && digits(last) => {
            let (first, last) = (number(first), number(last));
            if last < first {
                Wanted::Whole
            } else if first < size {
                Wanted::Part(first, last.saturating_add(1).min(size))
            } else {
                Wanted::Nothing
            }
        }
        _ => Wanted::Whole,
    }
}

/// A date header in seconds since 1970.
fn date(asked: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = asked.get(name)?.to_str().ok()?;
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

/// Seconds since 1970 as HTTP writes dates (RFC 9110 section 5.6.7).
pub(crate) fn http_date(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&at)
        .unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
}
