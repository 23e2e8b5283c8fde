//! What there is: objects, versions, uploads and their parts, a page at a time.

use s3s::{
    S3Error, S3ErrorCode, S3Response, S3Result,
    dto::{
        CommonPrefix, CommonPrefixList, DeleteMarkerEntry, ETag, EncodingType, ListMultipartUploadsInput,
        ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput,
        ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, MultipartUpload,
        Object, ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass, Owner, Part, StorageClass,
    },
};

use super::{
    api::Api,
    entry::Entry,
    fetch::ARCHIVED,
    page::{Page, Position},
    store::time,
    sums::{hex, unhex},
};

/// Most entries of one page. Source: the S3 API reference, `ListObjectsV2`.
const MOST: i32 = 1_000;

/// Texts as the client wants them: percent-encoded if it said so, since XML cannot hold every character of a key.
#[derive(Clone, Copy)]
struct Shown(bool);

impl Shown {
    fn of(encoding: Option<&EncodingType>) -> Self {
        Self(encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL))
    }

    fn text(self, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
        text.bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    }

    fn prefixes(self, prefixes: &[String]) -> Option<CommonPrefixList> {
        let shown = |prefix: &String| CommonPrefix { prefix: Some(self.text(prefix)) };
        (!prefixes.is_empty()).then(|| prefixes.iter().map(shown).collect())
    }
}

/// Who has every object.
pub(super) fn owner() -> Owner {
    Owner { display_name: Some("slipway".to_owned()), id: Some("slipway".to_owned()) }
}

fn limit(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(MOST).min(MOST)).map_err(|_| {
        S3Error::with_message(S3ErrorCode::InvalidArgument, "the most entries of a page cannot be below zero")
    })
}

fn object(entry: &Entry, shown: Shown, owned: bool) -> Object {
    let class = if entry.archived { ARCHIVED } else { ObjectStorageClass::STANDARD };
    Object {
        key: Some(shown.text(&entry.key)),
        size: i64::try_from(entry.size).ok(),
        e_tag: Some(ETag::Strong(entry.etag.clone())),
        last_modified: Some(time(entry.modified).into()),
        storage_class: Some(ObjectStorageClass::from_static(class)),
        owner: owned.then(owner),
        ..Object::default()
    }
}

pub(super) async fn objects_v2(api: &Api, input: ListObjectsV2Input) -> S3Result<S3Response<ListObjectsV2Output>> {
    let store = api.bucket(&input.bucket)?;
    let shown = Shown::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.as_deref();
    let begin = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => from_token(token)?,
        (None, Some(after)) => Position::after(after, &prefix, delimiter),
        (None, None) => Position::at(""),
    };
    let mut page = Page::new(&prefix, delimiter, limit(input.max_keys)?, begin);
    store.index.fill(&mut page, &prefix, false).await?;
    let owned = input.fetch_owner.unwrap_or_default();
    let output = ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(shown.text(&prefix)),
        delimiter: input.delimiter.map(|delimiter| shown.text(&delimiter)),
        max_keys: input.max_keys.or(Some(MOST)),
        key_count: i32::try_from(page.items.len() + page.prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        start_after: input.start_after.map(|after| shown.text(&after)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        next_continuation_token: page.truncated.then(|| token(&page.next)),
        common_prefixes: shown.prefixes(&page.prefixes),
        contents: Some(page.items.iter().map(|entry| object(entry, shown, owned)).collect()),
        ..ListObjectsV2Output::default()
    };
    Ok(S3Response::new(output))
}

/// A position as a text that means nothing to others: `-` and where to begin, or `+` and the key to begin after.
fn token(position: &Position) -> String {
    format!("{}{}", if position.below.is_some() { '+' } else { '-' }, hex(&position.start))
}

fn from_token(text: &str) -> S3Result<Position> {
    let bad =
        || S3Error::with_message(S3ErrorCode::InvalidArgument, "the continuation token is not one this server gave");
    let (kind, start) = text.split_at_checked(1).ok_or_else(bad)?;
    let below = match kind {
        "+" => Some(0),
        "-" => None,
        _ => return Err(bad()),
    };
    Ok(Position { start: unhex(start).ok_or_else(bad)?, below })
}

pub(super) async fn objects(api: &Api, input: ListObjectsInput) -> S3Result<S3Response<ListObjectsOutput>> {
    let store = api.bucket(&input.bucket)?;
    let shown = Shown::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.as_deref();
    let begin = match input.marker.as_deref().filter(|marker| !marker.is_empty()) {
        Some(marker) => Position::after(marker, &prefix, delimiter),
        None => Position::at(""),
    };
    let mut page = Page::new(&prefix, delimiter, limit(input.max_keys)?, begin);
    store.index.fill(&mut page, &prefix, false).await?;
    let output = ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(shown.text(&prefix)),
        delimiter: input.delimiter.map(|delimiter| shown.text(&delimiter)),
        marker: Some(shown.text(&input.marker.unwrap_or_default())),
        max_keys: input.max_keys.or(Some(MOST)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        next_marker: page.truncated.then(|| shown.text(&page.last)),
        common_prefixes: shown.prefixes(&page.prefixes),
        contents: Some(page.items.iter().map(|entry| object(entry, shown, true)).collect()),
        ..ListObjectsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn versions(
    api: &Api,
    input: ListObjectVersionsInput,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let store = api.bucket(&input.bucket)?;
    let shown = Shown::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.as_deref();
    let key = input.key_marker.clone().filter(|key| !key.is_empty());
    let version = input.version_id_marker.clone().filter(|version| !version.is_empty());
    let begin = match (&key, &version) {
        (Some(key), Some(version)) => {
            // A version that was removed since: the key's others are listed again rather than left out.
            Position { below: store.index.place(key, version).await?, ..Position::at(key) }
        }
        (Some(key), None) => Position::after(key, &prefix, delimiter),
        (None, _) => Position::at(""),
    };
    let mut page: Page<Entry> = Page::new(&prefix, delimiter, limit(input.max_keys)?, begin);
    store.index.fill(&mut page, &prefix, true).await?;
    let last = page.items.last().filter(|last| last.key == page.last).map(|last| last.version().to_owned());
    let (marks, objects): (Vec<&Entry>, Vec<&Entry>) = page.items.iter().partition(|entry| entry.marker);
    let mark = |entry: &&Entry| DeleteMarkerEntry {
        is_latest: Some(entry.latest),
        key: Some(shown.text(&entry.key)),
        last_modified: Some(time(entry.modified).into()),
        owner: Some(owner()),
        version_id: Some(entry.version().to_owned()),
    };
    let version = |entry: &&Entry| {
        let class = if entry.archived { ARCHIVED } else { ObjectVersionStorageClass::STANDARD };
        ObjectVersion {
            e_tag: Some(ETag::Strong(entry.etag.clone())),
            is_latest: Some(entry.latest),
            key: Some(shown.text(&entry.key)),
            last_modified: Some(time(entry.modified).into()),
            owner: Some(owner()),
            size: i64::try_from(entry.size).ok(),
            storage_class: Some(ObjectVersionStorageClass::from_static(class)),
            version_id: Some(entry.version().to_owned()),
            ..ObjectVersion::default()
        }
    };
    let output = ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(shown.text(&prefix)),
        delimiter: input.delimiter.map(|delimiter| shown.text(&delimiter)),
        key_marker: Some(shown.text(&input.key_marker.unwrap_or_default())),
        version_id_marker: input.version_id_marker,
        max_keys: input.max_keys.or(Some(MOST)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        next_key_marker: page.truncated.then(|| shown.text(&page.last)),
        next_version_id_marker: last.filter(|_| page.truncated),
        common_prefixes: shown.prefixes(&page.prefixes),
        delete_markers: (!marks.is_empty()).then(|| marks.iter().map(mark).collect()),
        versions: Some(objects.iter().map(version).collect()),
        ..ListObjectVersionsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn uploads(
    api: &Api,
    input: ListMultipartUploadsInput,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let store = api.bucket(&input.bucket)?;
    let shown = Shown::of(input.encoding_type.as_ref());
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.as_deref();
    let after = input.upload_id_marker.clone().unwrap_or_default();
    let begin = match input.key_marker.as_deref().filter(|key| !key.is_empty()) {
        Some(key) if !after.is_empty() => Position::at(key),
        Some(key) => Position::after(key, &prefix, delimiter),
        None => Position::at(""),
    };
    let mut page = Page::new(&prefix, delimiter, limit(input.max_uploads)?, begin);
    store.index.fill_uploads(&mut page, &prefix, &after).await?;
    let last = page.items.last().filter(|last| last.key == page.last).map(|last| last.id.clone());
    let upload = |upload: &super::uploads::Upload| MultipartUpload {
        key: Some(shown.text(&upload.key)),
        upload_id: Some(upload.id.clone()),
        initiated: Some(time(upload.begun).into()),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..MultipartUpload::default()
    };
    let output = ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(shown.text(&prefix)),
        delimiter: input.delimiter.map(|delimiter| shown.text(&delimiter)),
        key_marker: Some(shown.text(&input.key_marker.unwrap_or_default())),
        upload_id_marker: input.upload_id_marker,
        max_uploads: input.max_uploads.or(Some(MOST)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.truncated),
        next_key_marker: page.truncated.then(|| shown.text(&page.last)),
        next_upload_id_marker: last.filter(|_| page.truncated),
        common_prefixes: shown.prefixes(&page.prefixes),
        uploads: Some(page.items.iter().map(upload).collect()),
        ..ListMultipartUploadsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn parts(api: &Api, input: ListPartsInput) -> S3Result<S3Response<ListPartsOutput>> {
    let store = api.bucket(&input.bucket)?;
    store.index.upload(&input.upload_id, &input.key).await?;
    let limit = limit(input.max_parts)?;
    let above = input.part_number_marker.unwrap_or_default();
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut parts = store.index.parts(&input.upload_id, i64::from(above), wanted).await?;
    let truncated = parts.len() > limit;
    parts.truncate(limit);
    let number = |part: &super::uploads::Part| i32::try_from(part.number).ok();
    let sum = |part: &super::uploads::Part, name: &str| part.sums.get(name).cloned();
    let shown = |part: &super::uploads::Part| Part {
        part_number: number(part),
        size: i64::try_from(part.size).ok(),
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(time(part.modified).into()),
        checksum_crc32: sum(part, "crc32"),
        checksum_crc32c: sum(part, "crc32c"),
        checksum_crc64nvme: sum(part, "crc64nvme"),
        checksum_sha1: sum(part, "sha1"),
        checksum_sha256: sum(part, "sha256"),
    };
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        max_parts: input.max_parts.or(Some(MOST)),
        part_number_marker: Some(above),
        is_truncated: Some(truncated),
        next_part_number_marker: parts.last().and_then(number).filter(|_| truncated),
        parts: Some(parts.iter().map(shown).collect()),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    };
    Ok(S3Response::new(output))
}
