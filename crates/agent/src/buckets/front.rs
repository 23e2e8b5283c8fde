//! What stands before the S3 library: who may come in, pages of other origins, and visitors that come through the edge.

use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use s3s::{
    Body, S3Error, S3ErrorCode, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    config::{S3Config, StaticConfigProvider},
    path::S3Path,
    service::{S3Service, S3ServiceBuilder},
    validation::NameValidation,
};
use stack::ResourceName;

use super::{api::Api, book::Keys, definition::Definition};

/// Largest request in XML: the keys of a thousand objects to delete, each as long as can be.
const LARGEST_XML: usize = 4 << 20;

/// Largest file in a form: such a body is held in memory.
const LARGEST_FORM: u64 = 32 << 20;

/// What a page of another origin may look at.
const EXPOSED: &str = "etag, content-length, content-range, last-modified, x-amz-version-id, x-amz-delete-marker, \
                       x-amz-checksum-crc32, x-amz-checksum-crc32c, x-amz-checksum-crc64nvme, x-amz-checksum-sha256";

/// The keys that open an environment's buckets.
#[derive(Clone, Default)]
pub(super) struct KeyRing(Arc<RwLock<Vec<Keys>>>);

impl KeyRing {
    /// Those open it from now on.
    pub(super) fn replace(&self, keys: Vec<Keys>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

#[async_trait::async_trait]
impl S3Auth for KeyRing {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.iter().find(|keys| keys.access == access_key);
        found.map(|keys| SecretKey::from(keys.secret.as_str())).ok_or_else(|| {
            let message =
                "the access key is not one of this environment; take AWS_ACCESS_KEY_ID as the program finds it";
            S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, message)
        })
    }
}

/// Signed requests may do everything; anybody may read the objects of public buckets.
struct Door(Api);

#[async_trait::async_trait]
impl S3Access for Door {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_some() {
            return Ok(());
        }
        let reads = matches!(context.s3_op().name(), "GetObject" | "HeadObject");
        let public = match context.s3_path() {
            S3Path::Object { bucket, .. } => self.0.find(bucket).is_some_and(|store| store.definition().public),
            _ => false,
        };
        let query = context.uri().query().unwrap_or_default();
        let plain = !query.split('&').any(|pair| pair.starts_with("response-") || pair.starts_with("versionId"));
        if reads && public && plain {
            return Ok(());
        }
        let message = "the request is not signed; sign it, or read from a bucket with `public = true`";
        Err(S3Error::with_message(S3ErrorCode::AccessDenied, message))
    }
}

/// Buckets have the names that resources have.
struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, name: &str) -> bool {
        !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    }
}

/// Answers every request of one environment.
#[derive(Clone)]
pub(super) struct Front {
    api: Api,
    service: S3Service,
}

impl Front {
    /// In front of `api`, opened by `keys`.
    pub(super) fn new(api: Api, keys: KeyRing) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = LARGEST_XML;
        config.post_object_max_file_size = LARGEST_FORM;
        config.form_max_fields_size = 1 << 20;
        let mut builder = S3ServiceBuilder::new(api.clone());
        builder.set_auth(keys);
        builder.set_access(Door(api.clone()));
        builder.set_validation(AnyName);
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self { api, service: builder.build() }
    }

    /// Answers. With `routed`, the request came through a route to that bucket: unsigned, its path is the key; signed, it
    /// is what the client signed, as everywhere: `/<bucket>/<key>`.
    pub(super) async fn answer(&self, request: Request<Incoming>, routed: Option<&ResourceName>) -> Response<Body> {
        let mut request = request.map(Body::from);
        if let Some(refused) = old_signature(&request) {
            return refused;
        }
        if let Some(bucket) = routed.and_then(|name| self.api.wire(name))
            && !is_signed(&request)
            && !is_form(&request, &bucket)
        {
            let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            if let Ok(uri) = Uri::try_from(format!("/{bucket}{path}")) {
                *request.uri_mut() = uri;
            }
        }
        let bucket = request.uri().path().split('/').nth(1).unwrap_or_default();
        let definition = self.api.find(bucket).map(|store| store.definition());
        let origin = request.headers().get(header::ORIGIN).cloned();
        let allowed = origin.filter(|origin| definition.is_some_and(|definition| may(&definition, origin)));
        if request.method() == Method::OPTIONS {
            return preflight(request.headers(), allowed);
        }
        let mut response = match self.service.call(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!("bucket: a request failed: {error:?}");
                simple(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; see the agent's log")
            }
        };
        if let Some(origin) = allowed {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        response
    }
}

fn simple(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn query_has(request: &Request<Body>, name: &str) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

fn is_signed(request: &Request<Body>) -> bool {
    // Version 4, and what boto3 makes when nobody tells it which version to use.
    let presigned = query_has(request, "X-Amz-Signature") || query_has(request, "AWSAccessKeyId");
    presigned || request.headers().contains_key(header::AUTHORIZATION)
}

/// A form that a browser sends to the bucket itself: its signature is in the form.
fn is_form(request: &Request<Body>, bucket: &str) -> bool {
    request.method() == Method::POST && request.uri().path().trim_matches('/') == bucket
}

/// Signatures of version 2 say nothing of the body: a client that signs its requests with them is told. Presigned URLs
/// say nothing of it in either version.
fn old_signature(request: &Request<Body>) -> Option<Response<Body>> {
    let header = request.headers().get(header::AUTHORIZATION);
    let old = header.is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    old.then(|| simple(StatusCode::BAD_REQUEST, "sign requests with Signature Version 4 (`AWS4-HMAC-SHA256`)"))
}

/// Whether pages of an origin may use a bucket. One `*` in an allowed origin stands for anything.
fn may(definition: &Definition, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    definition.cors.iter().any(|allowed| match allowed.split_once('*') {
        None => allowed == origin,
        Some((begin, end)) => {
            origin.len() >= begin.len() + end.len() && origin.starts_with(begin) && origin.ends_with(end)
        }
    })
}

/// Answers a browser that asks before it sends. Source: Fetch standard, "CORS-preflight fetch".
fn preflight(asked: &HeaderMap, allowed: Option<HeaderValue>) -> Response<Body> {
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
    let known = ["GET", "HEAD", "PUT", "POST", "DELETE"];
    let (Some(origin), Some(method)) = (allowed, method.filter(|method| known.contains(method))) else {
        return simple(
            StatusCode::FORBIDDEN,
            "pages of this origin may not use the bucket; add it to the bucket's `cors`",
        );
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if let Ok(method) = HeaderValue::try_from(method) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
    }
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3000"));
    headers.insert(header::VARY, HeaderValue::from_static("origin, access-control-request-headers"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_matched_whole() {
        let definition = Definition {
            name: "files".parse().unwrap(),
            bucket: "files".to_owned(),
            versions: false,
            public: false,
            archive_after: None,
            delete_after: None,
            cors: vec!["https://shop.example".to_owned(), "https://*.shop.example".to_owned()],
        };
        let may = |origin: &'static str| may(&definition, &HeaderValue::from_static(origin));
        assert!(may("https://shop.example") && may("https://www.shop.example"));
        assert!(!may("https://shop.example.evil") && !may("http://shop.example") && !may("null"));
    }
}
