//! Uploads in parts: each part is a file of its own; the last request makes one file of them.

use std::{
    fs,
    io::{self, Read, Write},
    sync::Arc,
};

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CompletedPart, CopyPartResult, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, ETag, Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
        UploadPartOutput,
    },
};

use super::{
    api::{Api, seconds},
    entry::Meta,
    failure::{of_io, of_task},
    fetch::Preconditions,
    index::Condition,
    receive::{Draft, Received, check_room, receive},
    send::send,
    store::{Content, Store, Stored, new_id, now, settle, sync_folder},
    sums::{self, Digested, Wanted, hex},
    uploads::{self, Upload},
    write::{Asked, check_key, http_date, length, source, user},
};

/// Smallest part that is not the last. Source: the S3 user guide, "Multipart upload limits".
const SMALLEST: u64 = 5 << 20;

/// Highest number of a part. Source: as above.
const MOST: i32 = 10_000;

/// An object that is larger takes so long to put together that the client hears of it meanwhile.
const LONG: u64 = 256 << 20;

pub(super) async fn create(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
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
    let meta = Meta {
        content_type: input.content_type,
        content_encoding: input.content_encoding,
        content_disposition: input.content_disposition,
        content_language: input.content_language,
        cache_control: input.cache_control,
        expires: http_date(input.expires.as_ref()),
        user: user(input.metadata),
        sums: sums::Sums::new(),
    };
    let id = new_id();
    store.index.begin_upload(&id, &input.key, now(), &meta).await?;
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..CreateMultipartUploadOutput::default()
    };
    Ok(S3Response::new(output))
}

fn check_number(number: i32) -> S3Result<()> {
    if (1..=MOST).contains(&number) {
        return Ok(());
    }
    let message = format!("part {number} cannot be: parts are numbered from 1 to {MOST}");
    Err(S3Error::with_message(S3ErrorCode::InvalidArgument, message))
}

/// Enters a part whose file is written.
async fn keep_part(
    store: &Arc<Store>,
    upload: &Upload,
    number: i32,
    (id, draft): (String, Draft),
    size: u64,
    found: &Digested,
) -> S3Result<uploads::Part> {
    let part = uploads::Part {
        number: i64::from(number),
        size,
        etag: hex(&found.md5),
        modified: now(),
        file: format!("uploads/{}/{number}~{id}", upload.id),
        sums: found.sums.clone(),
    };
    let (store, upload, kept) = (store.clone(), upload.id.clone(), part.clone());
    let done = tokio::spawn(async move {
        let folder = store.folder.join("new");
        tokio::task::spawn_blocking(move || sync_folder(&folder)).await.map_err(of_task)?.map_err(of_io("write"))?;
        store.index.put_part(&upload, &kept).await?;
        let (from, to) = (draft.path().to_owned(), store.folder.join(&kept.file));
        draft.keep();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || settle(&from, &to)).await {
            tracing::warn!("bucket: cannot move a part to its place: {error}");
        }
        store.work.notify_one();
        Ok::<(), S3Error>(())
    });
    done.await.map_err(of_task)??;
    Ok(part)
}

pub(super) async fn part(api: &Api, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let wanted = Wanted::of(&request.headers)?;
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    check_number(input.part_number)?;
    let upload = store.index.upload(&input.upload_id, &input.key).await?;
    let body = input.body.ok_or(S3ErrorCode::IncompleteBody)?;
    let (id, draft) = store.draft();
    let permit = store.bodies.acquire().await;
    let Received { draft, size, found } = receive(draft, body, length(input.content_length), wanted.digest()).await?;
    drop(permit);
    let trailers = request.trailing_headers.and_then(|trailers| trailers.take());
    wanted.check(&found, trailers.as_ref())?;
    let part = keep_part(&store, &upload, input.part_number, (id, draft), size, &found).await?;
    let output = UploadPartOutput { e_tag: Some(ETag::Strong(part.etag)), ..UploadPartOutput::default() };
    let mut response = S3Response::new(output);
    response.headers.extend(sums::headers(&found.sums));
    Ok(response)
}

pub(super) async fn part_copy(
    api: &Api,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    check_number(input.part_number)?;
    let upload = store.index.upload(&input.upload_id, &input.key).await?;
    let (from, entry) = source(api, &input.copy_source).await?;
    let condition = Preconditions {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    condition.check(&entry).map_err(|_| S3ErrorCode::PreconditionFailed)?;
    let range = match &input.copy_source_range {
        Some(text) => {
            let range = Range::parse(text).map_err(|_| S3ErrorCode::InvalidArgument)?;
            range.check(entry.size)?
        }
        None => 0..entry.size,
    };
    let (entry, file) = from.file(&entry).await?;
    let (id, draft) = store.draft();
    let permit = store.bodies.acquire().await;
    let body = send(file, entry.archived, range.start, range.end);
    let Received { draft, size, found } =
        receive(draft, body, Some(range.end - range.start), Wanted::default().digest()).await?;
    drop(permit);
    let part = keep_part(&store, &upload, input.part_number, (id, draft), size, &found).await?;
    let result = CopyPartResult {
        e_tag: Some(ETag::Strong(part.etag)),
        last_modified: Some(seconds(part.modified)),
        ..CopyPartResult::default()
    };
    let output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: (!entry.null).then_some(entry.id),
        ..UploadPartCopyOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn abort(
    api: &Api,
    input: AbortMultipartUploadInput,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let store = api.bucket(&input.bucket)?;
    store.index.upload(&input.upload_id, &input.key).await?;
    store.index.abort_upload(&input.upload_id).await?;
    store.work.notify_one();
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// A checked request to complete an upload.
struct Completion {
    store: Arc<Store>,
    upload: Upload,
    parts: Vec<uploads::Part>,
    wanted: Wanted,
    condition: Condition,
}

pub(super) async fn complete(
    api: &Api,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let wanted = Wanted::of_whole(&request.headers)?;
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    let (bucket, key) = (input.bucket, input.key);
    let upload = match store.index.upload(&input.upload_id, &key).await {
        Ok(upload) => upload,
        Err(gone) => {
            let stored = completed(&store, &input.upload_id, &key).await?.ok_or(gone)?;
            return Ok(S3Response::new(answer(bucket, key, stored)));
        }
    };
    let there = store.index.parts(&upload.id, 0, i64::from(MOST)).await?;
    let asked = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let parts = chosen(&there, &asked)?;
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if input.mpu_object_size.is_some_and(|asked| u64::try_from(asked) != Ok(size)) {
        let message = format!("the parts are {size} bytes together, which is not what was announced; list them");
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
    }
    let condition = Condition { if_match: input.if_match, if_none_match: input.if_none_match };
    condition.check(store.index.find(&key, None).await?.as_ref().filter(|entry| !entry.marker))?;
    let work = Completion { store, upload, parts, wanted, condition }.run(size);
    if size < LONG {
        return Ok(S3Response::new(answer(bucket, key, work.await?)));
    }
    let later = async move { Ok(answer(bucket, key, work.await?)) };
    let output =
        CompleteMultipartUploadOutput { future: Some(Box::pin(later)), ..CompleteMultipartUploadOutput::default() };
    Ok(S3Response::new(output))
}

fn answer(bucket: String, key: String, stored: Stored) -> CompleteMultipartUploadOutput {
    CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(ETag::Strong(stored.etag)),
        version_id: stored.version,
        ..CompleteMultipartUploadOutput::default()
    }
}

/// What an upload became, for a client that missed the answer.
async fn completed(store: &Arc<Store>, upload: &str, key: &str) -> S3Result<Option<Stored>> {
    let Some(id) = store.index.completed(upload).await? else { return Ok(None) };
    let found = store.index.find_id(key, &id).await?;
    Ok(found.map(|entry| Stored {
        modified: entry.modified,
        version: (!entry.null).then(|| entry.id.clone()),
        etag: entry.etag,
    }))
}

/// The parts that are named, in order.
fn chosen(there: &[uploads::Part], asked: &[CompletedPart]) -> S3Result<Vec<uploads::Part>> {
    if asked.is_empty() {
        return Err(S3Error::with_message(S3ErrorCode::MalformedXML, "no part is named; name those to keep"));
    }
    let mut parts: Vec<uploads::Part> = Vec::with_capacity(asked.len());
    let count = asked.len();
    for (index, asked) in asked.iter().enumerate() {
        let number = i64::from(asked.part_number.unwrap_or_default());
        if parts.last().is_some_and(|last| last.number >= number) {
            return Err(S3ErrorCode::InvalidPartOrder.into());
        }
        let part = there.iter().find(|part| part.number == number).filter(|part| {
            asked.e_tag.as_ref().is_none_or(|etag| etag.value() == part.etag)
                && [
                    ("crc32", &asked.checksum_crc32),
                    ("crc32c", &asked.checksum_crc32c),
                    ("crc64nvme", &asked.checksum_crc64nvme),
                    ("sha1", &asked.checksum_sha1),
                    ("sha256", &asked.checksum_sha256),
                ]
                .into_iter()
                .all(|(name, sum)| sum.is_none() || part.sums.get(name).is_none_or(|found| Some(found) == sum.as_ref()))
        });
        let part = part.ok_or_else(|| {
            let message = format!("part {number} is not there, or is another than named; upload it again");
            S3Error::with_message(S3ErrorCode::InvalidPart, message)
        })?;
        if part.size < SMALLEST && index + 1 < count {
            return Err(S3ErrorCode::EntityTooSmall.into());
        }
        parts.push(part.clone());
    }
    Ok(parts)
}

impl Completion {
    /// Puts the parts together.
    async fn run(self, size: u64) -> S3Result<Stored> {
        let Self { store, upload, parts, wanted, condition } = self;
        let etag = sums::etag_of_parts(parts.iter().map(|part| part.etag.as_str()))?;
        let (id, draft) = store.draft();
        let permit = store.bodies.acquire().await;
        let folder = store.clone();
        let joined = tokio::task::spawn_blocking(move || {
            check_room(&folder.folder, size)?;
            let opened = parts.iter().map(|part| folder.open_file(&part.file));
            let found = join(opened, draft.path(), &wanted).map_err(of_io("put the parts together"))?;
            found.as_ref().map_or(Ok(()), |found| wanted.check(found, None))?;
            Ok::<_, S3Error>((draft, found))
        });
        let (draft, found) = joined.await.map_err(of_task)??;
        drop(permit);
        let mut meta = upload.meta();
        meta.sums = found.map(|found| found.sums).unwrap_or_default();
        let key = upload.key.clone();
        let content = Content { key: &key, size, etag, meta, condition, upload: Some(&upload.id) };
        match store.put(id, draft, content).await? {
            Some(stored) => Ok(stored),
            // Somebody else completed it meanwhile, or gave it up.
            None => completed(&store, &upload.id, &key).await?.ok_or_else(|| uploads::gone(&upload.id)),
        }
    }
}

/// One file of many, durable. Read through only when the client sent a sum of the whole: else a disk that can share
/// blocks does.
fn join(
    parts: impl Iterator<Item = io::Result<fs::File>>,
    path: &std::path::Path,
    wanted: &Wanted,
) -> io::Result<Option<Digested>> {
    let mut whole = fs::File::create_new(path)?;
    let mut digest = wanted.any().then(|| wanted.digest());
    let mut block = vec![0; if digest.is_some() { 1 << 20 } else { 0 }];
    for part in parts {
        let mut part = part?;
        match &mut digest {
            None => drop(io::copy(&mut part, &mut whole)?),
            Some(digest) => loop {
                let read = part.read(&mut block)?;
                if read == 0 {
                    break;
                }
                digest.update(&block[..read]);
                whole.write_all(&block[..read])?;
            },
        }
    }
    whole.sync_all()?;
    Ok(digest.map(sums::Digest::finish))
}
