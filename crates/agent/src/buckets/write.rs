//! `PutObject` and `CopyObject`.

use std::{collections::BTreeMap, fs, io};

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, Metadata, MetadataDirective,
        ObjectCannedACL, PutObjectInput, PutObjectOutput, ServerSideEncryption, Timestamp, TimestampFormat,
    },
};

use super::{
    api::{Api, seconds},
    entry::{Entry, Meta},
    failure::{not_here, of_io, of_task},
    fetch,
    index::Condition,
    receive::{Received, check_room, receive},
    send::send,
    store::{Content, Store},
    sums::{self, Wanted, hex},
};

/// What a client can ask of a new object that this server does not do.
#[expect(clippy::struct_excessive_bools, reason = "each is a header that a request has or has not")]
pub(super) struct Asked<'a> {
    pub(super) acl: Option<&'a ObjectCannedACL>,
    pub(super) encryption: Option<&'a ServerSideEncryption>,
    pub(super) customer_key: bool,
    pub(super) tagging: bool,
    pub(super) lock: bool,
    pub(super) redirect: bool,
}

impl Asked<'_> {
    /// Refuses what would be ignored otherwise. `AES256` is let pass: the disk's encryption is the host's matter.
    pub(super) fn check(&self) -> S3Result<()> {
        let private = [ObjectCannedACL::PRIVATE, ObjectCannedACL::BUCKET_OWNER_FULL_CONTROL];
        if self.acl.is_some_and(|acl| !private.contains(&acl.as_str())) {
            let message = "objects have no access lists here; set `public = true` for the bucket in slipway.toml";
            return Err(S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, message));
        }
        if self.customer_key || self.encryption.is_some_and(|kind| kind.as_str() != ServerSideEncryption::AES256) {
            return Err(not_here(
                "this server has no keys to encrypt with; encrypt the host's disk, or the object itself",
            ));
        }
        for (asked, what) in [(self.tagging, "tags"), (self.lock, "locks"), (self.redirect, "redirects")] {
            if asked {
                return Err(not_here(format!("objects have no {what} here; leave them out of the request")));
            }
        }
        Ok(())
    }
}

/// An HTTP date.
pub(super) fn http_date(time: Option<&Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    time?.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// A key that can be kept.
pub(super) fn check_key(key: &str) -> S3Result<()> {
    if key.len() > 1024 { Err(S3ErrorCode::KeyTooLongError.into()) } else { Ok(()) }
}

/// A body's length as it was announced.
pub(super) fn length(length: Option<i64>) -> Option<u64> {
    length.and_then(|length| u64::try_from(length).ok())
}

/// A user's metadata.
pub(super) fn user(metadata: Option<Metadata>) -> BTreeMap<String, String> {
    metadata.into_iter().flatten().collect()
}

pub(super) async fn put(api: &Api, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let wanted = Wanted::of(&request.headers)?;
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    check_key(&input.key)?;
    let asked = Asked {
        acl: input.acl.as_ref(),
        encryption: input.server_side_encryption.as_ref(),
        customer_key: input.sse_customer_algorithm.is_some(),
        tagging: input.tagging.is_some(),
        lock: input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some(),
        redirect: input.website_redirect_location.is_some(),
    };
    asked.check()?;
    let condition = Condition { if_match: input.if_match, if_none_match: input.if_none_match };
    // Told before a large body travels; what counts is the same check when it is stored.
    if condition.if_match.is_some() || condition.if_none_match.is_some() {
        condition.check(store.index.find(&input.key, None).await?.as_ref().filter(|entry| !entry.marker))?;
    }
    let body = input.body.ok_or(S3ErrorCode::IncompleteBody)?;
    let (id, draft) = store.draft();
    let permit = store.bodies.acquire().await;
    let Received { draft, size, found } = receive(draft, body, length(input.content_length), wanted.digest()).await?;
    drop(permit);
    let trailers = request.trailing_headers.and_then(|trailers| trailers.take());
    wanted.check(&found, trailers.as_ref())?;
    let meta = Meta {
        content_type: input.content_type,
        content_encoding: without_chunks(input.content_encoding),
        content_disposition: input.content_disposition,
        content_language: input.content_language,
        cache_control: input.cache_control,
        expires: http_date(input.expires.as_ref()),
        user: user(input.metadata),
        sums: found.sums.clone(),
    };
    let content = Content { key: &input.key, size, etag: hex(&found.md5), meta, condition, upload: None };
    let stored = store.put(id, draft, content).await?.ok_or(S3ErrorCode::InternalError)?;
    let output = PutObjectOutput {
        e_tag: Some(ETag::Strong(stored.etag)),
        version_id: stored.version,
        ..PutObjectOutput::default()
    };
    let mut response = S3Response::new(output);
    response.headers.extend(sums::headers(&found.sums));
    Ok(response)
}

/// `aws-chunked` is how the body travelled, not what the object is.
fn without_chunks(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// The object that a copy is made of.
pub(super) async fn source(api: &Api, source: &CopySource) -> S3Result<(std::sync::Arc<Store>, Entry)> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(not_here("access points are AWS's; name the bucket"));
    };
    let store = api.bucket(bucket)?;
    let entry = fetch::found(&store, key, version_id.as_deref()).await?;
    Ok((store, entry))
}

pub(super) async fn copy(api: &Api, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    check_key(&input.key)?;
    let asked = Asked {
        acl: input.acl.as_ref(),
        encryption: input.server_side_encryption.as_ref(),
        customer_key: input.sse_customer_algorithm.is_some() || input.copy_source_sse_customer_algorithm.is_some(),
        tagging: input.tagging.is_some(),
        lock: input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some(),
        redirect: input.website_redirect_location.is_some(),
    };
    asked.check()?;
    let (from, entry) = source(api, &input.copy_source).await?;
    let condition = fetch::Preconditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    // A copy has no "not modified".
    condition.check(&entry).map_err(|error| match error.code() {
        S3ErrorCode::NotModified => S3ErrorCode::PreconditionFailed.into(),
        _ => error,
    })?;
    let replace = input.metadata_directive.as_ref().is_some_and(|one| one.as_str() == MetadataDirective::REPLACE);
    if from.folder == store.folder && entry.key == input.key && entry.latest && !replace {
        let message =
            "the object would be copied to itself and nothing would change; copy it elsewhere, or replace its metadata";
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    }
    let mut meta = entry.meta();
    if replace {
        meta = Meta {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            expires: http_date(input.expires.as_ref()),
            user: user(input.metadata),
            sums: meta.sums,
        };
    }
    let (id, draft) = store.draft();
    let (entry, file) = from.file(&entry).await?;
    let permit = store.bodies.acquire().await;
    let draft = if entry.archived {
        let body = send(file, true, 0, entry.size);
        receive(draft, body, Some(entry.size), Wanted::default().digest()).await?.draft
    } else {
        let size = entry.size;
        let copied = tokio::task::spawn_blocking(move || {
            check_room(draft.path().parent().unwrap_or(draft.path()), size)?;
            clone_file(&file, draft.path()).map_err(of_io("copy an object"))?;
            Ok::<_, S3Error>(draft)
        });
        copied.await.map_err(of_task)??
    };
    drop(permit);
    let content = Content {
        key: &input.key,
        size: entry.size,
        etag: entry.etag.clone(),
        meta,
        condition: Condition::default(),
        upload: None,
    };
    let stored = store.put(id, draft, content).await?.ok_or(S3ErrorCode::InternalError)?;
    let result = CopyObjectResult {
        e_tag: Some(ETag::Strong(stored.etag)),
        last_modified: Some(seconds(stored.modified)),
        ..CopyObjectResult::default()
    };
    let output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: (!entry.null).then(|| entry.id.clone()),
        version_id: stored.version,
        ..CopyObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

/// Copies a file durably; a disk that can share blocks does.
fn clone_file(mut from: &fs::File, path: &std::path::Path) -> io::Result<()> {
    let mut to = fs::File::create_new(path)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}
