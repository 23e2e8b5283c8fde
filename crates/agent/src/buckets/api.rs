//! The operations of S3 that this server knows. What is not here is answered with `NotImplemented`.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, BucketVersioningStatus,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
        CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
        DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
        DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
        GetBucketVersioningOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
        HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
        ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
        ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, Timestamp,
        UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
};
use stack::ResourceName;

use super::{fetch, listing, multipart, remove, store, store::Store, write};

/// Where everything is, as far as clients ask.
pub(crate) const REGION: &str = "us-east-1";

/// The buckets of one environment that are open, by what programs call them.
#[derive(Clone, Default)]
pub(super) struct Api {
    open: Arc<RwLock<BTreeMap<String, Arc<Store>>>>,
}

impl Api {
    /// Opens a bucket to programs.
    pub(super) fn enter(&self, bucket: &str, store: Arc<Store>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(bucket.to_owned(), store);
    }

    /// Closes all but those.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).retain(|bucket, _| keep(bucket));
    }

    /// A bucket, if it is open.
    pub(super) fn find(&self, bucket: &str) -> Option<Arc<Store>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }

    /// What programs call a bucket of the stack now, if it is open.
    pub(super) fn wire(&self, name: &ResourceName) -> Option<String> {
        self.all().into_iter().find(|(_, store)| store.definition().name == *name).map(|(bucket, _)| bucket)
    }

    /// A bucket. Fails when the stack has none of that name.
    pub(super) fn bucket(&self, bucket: &str) -> S3Result<Arc<Store>> {
        self.find(bucket).ok_or_else(|| {
            let message =
                format!("there is no bucket `{bucket}` in this environment; add it to slipway.toml and deploy");
            S3Error::with_message(S3ErrorCode::NoSuchBucket, message)
        })
    }

    fn all(&self) -> Vec<(String, Arc<Store>)> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|(bucket, store)| (bucket.clone(), store.clone())).collect()
    }
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for Api {
    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let prefix = request.input.prefix.unwrap_or_default();
        let all = self.all().into_iter().filter(|(bucket, _)| bucket.starts_with(&prefix));
        let buckets = all.map(|(name, store)| Bucket {
            name: Some(name),
            bucket_region: Some(REGION.to_owned()),
            creation_date: std::fs::metadata(&store.folder).and_then(|data| data.created()).ok().map(Timestamp::from),
        });
        let output = ListBucketsOutput {
            buckets: Some(buckets.collect()),
            owner: Some(listing::owner()),
            ..ListBucketsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.bucket(&request.input.bucket)?;
        let output = HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..HeadBucketOutput::default() };
        Ok(S3Response::new(output))
    }

    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        match self.bucket(&request.input.bucket) {
            Ok(_) => Err(S3ErrorCode::BucketAlreadyOwnedByYou.into()),
            Err(error) => {
                let message = error.message().unwrap_or_default().to_owned();
                Err(S3Error::with_message(S3ErrorCode::AccessDenied, message))
            }
        }
    }

    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.bucket(&request.input.bucket)?;
        let message = "buckets are in slipway.toml: take it out there; its objects stay until a person removes them";
        Err(S3Error::with_message(S3ErrorCode::AccessDenied, message))
    }

    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> Answer<GetBucketLocationOutput> {
        self.bucket(&request.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        let versions = self.bucket(&request.input.bucket)?.definition().versions;
        let enabled = BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED);
        let output = GetBucketVersioningOutput { status: versions.then_some(enabled), mfa_delete: None };
        Ok(S3Response::new(output))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        write::put(self, request).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        write::copy(self, request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        fetch::get(self, request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        fetch::head(self, request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        remove::one(self, request).await
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        remove::many(self, request).await
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        listing::objects(self, request.input).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        listing::objects_v2(self, request.input).await
    }

    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> Answer<ListObjectVersionsOutput> {
        listing::versions(self, request.input).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        multipart::create(self, request).await
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        multipart::part(self, request).await
    }

    async fn upload_part_copy(&self, request: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
        multipart::part_copy(self, request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        multipart::complete(self, request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        multipart::abort(self, request.input).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        listing::parts(self, request.input).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        listing::uploads(self, request.input).await
    }
}

/// A time as headers show it: whole seconds.
pub(super) fn seconds(millis: i64) -> Timestamp {
    Timestamp::from(store::time(millis / 1_000 * 1_000))
}
