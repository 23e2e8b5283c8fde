//! `GetObject` and `HeadObject`.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        ChecksumMode, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
        Metadata, StorageClass, Timestamp, TimestampFormat,
    },
};

use super::{
    api::{Api, seconds},
    entry::{Entry, Meta},
    failure::not_here,
    index::{matches, missing},
    send::send,
    store::Store,
    sums,
};

/// What a client has already, or insists on. Source: RFC 9110 section 13.2.2.
#[derive(Default)]
#[expect(clippy::struct_field_names, reason = "they are named as the headers are")]
pub(super) struct Preconditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

impl Preconditions {
    /// Fails with `PreconditionFailed` or `NotModified`.
    pub(super) fn check(&self, entry: &Entry) -> S3Result<()> {
        let modified = seconds(entry.modified);
        let held = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => matches(condition, entry),
            (None, Some(time)) => modified <= *time,
            (None, None) => true,
        };
        if !held {
            return Err(S3ErrorCode::PreconditionFailed.into());
        }
        let known = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => matches(condition, entry),
            (None, Some(time)) => modified <= *time,
            (None, None) => false,
        };
        if !known {
            return Ok(());
        }
        let mut error = S3Error::from(S3ErrorCode::NotModified);
        if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", entry.etag)) {
            error.set_headers(HeaderMap::from_iter([(http::header::ETAG, etag)]));
        }
        Err(error)
    }
}

/// A version of an object, or the latest. Fails when it is not there, or is a mark of deletion.
pub(super) async fn found(store: &Arc<Store>, key: &str, version: Option<&str>) -> S3Result<Entry> {
    let entry = store.index.find(key, version).await?.ok_or_else(|| missing(key, version))?;
    if !entry.marker {
        return Ok(entry);
    }
    let mut error = match version {
        Some(_) => S3Error::with_message(S3ErrorCode::MethodNotAllowed, "that version marks a deletion"),
        None => missing(key, None),
    };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::try_from(entry.version()) {
        headers.insert("x-amz-version-id", version);
    }
    error.set_headers(headers);
    Err(error)
}

/// The version that is told to a client of a bucket.
fn version(store: &Store, entry: &Entry) -> Option<String> {
    (store.definition().versions || !entry.null).then(|| entry.version().to_owned())
}

/// Objects that are compressed are read at once all the same.
pub(super) const ARCHIVED: &str = StorageClass::GLACIER_IR;

fn check_part(number: Option<i32>, entry: &Entry) -> S3Result<()> {
    match number {
        Some(_) if entry.etag.contains('-') => {
            Err(not_here("parts of a complete object cannot be read by number; ask for a range"))
        }
        Some(number) if number != 1 => Err(S3ErrorCode::InvalidPart.into()),
        _ => Ok(()),
    }
}

fn expires(meta: &Meta) -> Option<Timestamp> {
    meta.expires.as_ref().and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, text).ok())
}

/// Sums of the whole, when the client asks and gets the whole.
fn sum_headers(mode: Option<&ChecksumMode>, meta: &Meta) -> HeaderMap {
    match mode {
        Some(mode) if mode.as_str() == ChecksumMode::ENABLED => sums::headers(&meta.sums),
        _ => HeaderMap::new(),
    }
}

fn user(meta: &Meta) -> Option<Metadata> {
    (!meta.user.is_empty()).then(|| meta.user.clone().into_iter().collect())
}

pub(super) async fn get(api: &Api, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    let entry = found(&store, &input.key, input.version_id.as_deref()).await?;
    let preconditions = Preconditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    preconditions.check(&entry)?;
    check_part(input.part_number, &entry)?;
    let range = input.range.map(|range| range.check(entry.size)).transpose()?;
    let (entry, file) = store.file(&entry).await?;
    let meta = entry.meta();
    let (from, to) = range.as_ref().map_or((0, entry.size), |range| (range.start, range.end.min(entry.size)));
    let shown = range.as_ref().map(|_| format!("bytes {from}-{}/{}", to.saturating_sub(1), entry.size));
    let headers = if range.is_none() { sum_headers(input.checksum_mode.as_ref(), &meta) } else { HeaderMap::new() };
    let output = GetObjectOutput {
        body: Some(send(file, entry.archived, from, to)),
        accept_ranges: Some("bytes".to_owned()),
        content_length: i64::try_from(to - from).ok(),
        content_range: shown,
        e_tag: Some(ETag::Strong(entry.etag.clone())),
        last_modified: Some(seconds(entry.modified)),
        version_id: version(&store, &entry),
        storage_class: entry.archived.then(|| StorageClass::from_static(ARCHIVED)),
        expires: expires(&meta),
        metadata: user(&meta),
        content_type: Some(meta.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        content_encoding: meta.content_encoding,
        content_disposition: meta.content_disposition,
        content_language: meta.content_language,
        cache_control: meta.cache_control,
        ..GetObjectOutput::default()
    };
    let mut response = S3Response::new(output);
    response.headers.extend(headers);
    Ok(response)
}

/// What an object is when its client did not say. Source: the S3 API reference, `PutObject`.
const DEFAULT_TYPE: &str = "binary/octet-stream";

pub(super) async fn head(api: &Api, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    let entry = found(&store, &input.key, input.version_id.as_deref()).await?;
    let preconditions = Preconditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    preconditions.check(&entry)?;
    check_part(input.part_number, &entry)?;
    let meta = entry.meta();
    let headers = sum_headers(input.checksum_mode.as_ref(), &meta);
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: i64::try_from(entry.size).ok(),
        e_tag: Some(ETag::Strong(entry.etag.clone())),
        last_modified: Some(seconds(entry.modified)),
        version_id: version(&store, &entry),
        storage_class: entry.archived.then(|| StorageClass::from_static(ARCHIVED)),
        expires: expires(&meta),
        metadata: user(&meta),
        content_type: Some(meta.content_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned())),
        content_encoding: meta.content_encoding,
        content_disposition: meta.content_disposition,
        content_language: meta.content_language,
        cache_control: meta.cache_control,
        ..HeadObjectOutput::default()
    };
    let mut response = S3Response::new(output);
    response.headers.extend(headers);
    Ok(response)
}
