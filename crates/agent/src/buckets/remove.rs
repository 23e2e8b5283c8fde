//! `DeleteObject` and `DeleteObjects`.

use s3s::{
    S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
        Error,
    },
};

use super::{
    api::Api,
    index::{Condition, Deletion},
};

/// Most objects of one request. Source: the S3 API reference, `DeleteObjects`.
const MOST: usize = 1_000;

pub(super) async fn one(api: &Api, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    let deletion = Deletion {
        key: input.key,
        version: input.version_id,
        condition: Condition { if_match: input.if_match, if_none_match: None },
    };
    let mut deleted = store.delete(vec![deletion]).await?;
    let deleted = deleted.pop().unwrap_or_else(|| Err(S3ErrorCode::InternalError.into()))?;
    let output = DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        version_id: deleted.version,
        ..DeleteObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn many(
    api: &Api,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    let store = api.bucket(&input.bucket)?;
    let objects = input.delete.objects;
    if objects.len() > MOST {
        let message = format!("{} objects are named, and one request deletes at most {MOST}", objects.len());
        return Err(S3Error::with_message(S3ErrorCode::MalformedXML, message));
    }
    let deletions = objects.iter().map(|object| Deletion {
        key: object.key.clone(),
        version: object.version_id.clone(),
        condition: Condition { if_match: object.e_tag.clone().map(ETagCondition::ETag), if_none_match: None },
    });
    let results = store.delete(deletions.collect()).await?;
    let mut output = DeleteObjectsOutput { deleted: Some(Vec::new()), errors: Some(Vec::new()), request_charged: None };
    let quiet = input.delete.quiet.unwrap_or_default();
    for (object, result) in objects.into_iter().zip(results) {
        match result {
            Ok(_) if quiet => {}
            Ok(deleted) => output.deleted.get_or_insert_default().push(DeletedObject {
                key: Some(object.key),
                delete_marker: deleted.marker.then_some(true),
                delete_marker_version_id: deleted.version.filter(|_| deleted.marker),
                version_id: object.version_id,
            }),
            Err(error) => output.errors.get_or_insert_default().push(Error {
                key: Some(object.key),
                version_id: object.version_id,
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
            }),
        }
    }
    Ok(S3Response::new(output))
}
