//! Checksums of what is uploaded: those a client sends, those it is told.

use std::{collections::BTreeMap, fmt::Write};

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    checksum::ChecksumHasher,
    crypto::{Checksum, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
};

const PREFIX: &str = "x-amz-checksum-";
const ALGORITHMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// Base64 texts, by algorithm, as in `crc32`.
pub(super) type Sums = BTreeMap<String, String>;

/// What to compute while a body is read, and what should come out.
#[derive(Default)]
pub(super) struct Wanted {
    algorithms: Vec<&'static str>,
    expected: Sums,
    /// Base64 of the MD5 the client computed.
    md5: Option<String>,
}

impl Wanted {
    /// What a request's headers announce. A checksum may also follow the body, in a trailer.
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let mut wanted = Self::default();
        for (name, value) in headers {
            let (name, value) = (name.as_str(), value.to_str().unwrap_or_default());
            match name {
                "content-md5" => wanted.md5 = Some(value.to_owned()),
                "x-amz-trailer" => {
                    for name in value.split(',').filter_map(|name| name.trim().strip_prefix(PREFIX)) {
                        wanted.algorithms.push(known(name)?);
                    }
                }
                "x-amz-sdk-checksum-algorithm" => wanted.algorithms.push(known(&value.to_ascii_lowercase())?),
                "x-amz-checksum-mode" | "x-amz-checksum-type" | "x-amz-checksum-algorithm" => {}
                _ => {
                    if let Some(name) = name.strip_prefix(PREFIX) {
                        wanted.algorithms.push(known(name)?);
                        wanted.expected.insert(name.to_owned(), value.to_owned());
                    }
                }
            }
        }
        Ok(wanted)
    }

    /// What a request that completes an upload says of the whole object. A sum of the parts' sums (`...-3`) says
    /// nothing more than those, which were checked.
    pub(super) fn of_whole(headers: &HeaderMap) -> S3Result<Self> {
        let mut wanted = Self::of(headers)?;
        wanted.md5 = None;
        wanted.expected.retain(|_, sum| !sum.contains('-'));
        wanted.algorithms.retain(|name| wanted.expected.contains_key(*name));
        Ok(wanted)
    }

    /// Whether there is anything to check.
    pub(super) fn any(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Begins to compute.
    pub(super) fn digest(&self) -> Digest {
        let mut sums = ChecksumHasher::default();
        for algorithm in &self.algorithms {
            match *algorithm {
                "crc32" => sums.crc32 = Some(Crc32::new()),
                "crc32c" => sums.crc32c = Some(Crc32c::new()),
                "crc64nvme" => sums.crc64nvme = Some(Crc64Nvme::new()),
                "sha1" => sums.sha1 = Some(Sha1::new()),
                _ => sums.sha256 = Some(Sha256::new()),
            }
        }
        Digest { md5: Md5::new(), sums }
    }

    /// Fails when what came is not what the client sent. `trailers` came after the body.
    pub(super) fn check(&self, found: &Digested, trailers: Option<&HeaderMap>) -> S3Result<()> {
        if let Some(md5) = &self.md5
            && *md5 != base64(&found.md5)
        {
            return Err(mismatch("Content-MD5"));
        }
        let mut expected = self.expected.clone();
        for (name, value) in trailers.into_iter().flatten() {
            if let (Some(name), Ok(value)) = (name.as_str().strip_prefix(PREFIX), value.to_str()) {
                expected.insert(name.to_owned(), value.to_owned());
            }
        }
        match expected.iter().find(|(name, value)| found.sums.get(*name) != Some(*value)) {
            Some((name, _)) => Err(mismatch(name)),
            None => Ok(()),
        }
    }
}

fn known(name: &str) -> S3Result<&'static str> {
    ALGORITHMS.into_iter().find(|known| *known == name).ok_or_else(|| {
        let message = format!("the checksum `{name}` is not known here; use one of {}", ALGORITHMS.join(", "));
        S3Error::with_message(S3ErrorCode::InvalidRequest, message)
    })
}

/// The client's checksum is not that of what arrived.
pub(super) fn mismatch(name: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::BadDigest, format!("{name} is not that of what arrived; send it again"))
}

/// Sums on their way.
pub(super) struct Digest {
    md5: Md5,
    sums: ChecksumHasher,
}

/// Sums of a whole.
pub(super) struct Digested {
    /// Of 16 bytes.
    pub(super) md5: Vec<u8>,
    /// The others.
    pub(super) sums: Sums,
}

impl Digest {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    /// That was all.
    pub(super) fn finish(self) -> Digested {
        let sums = self.sums.finalize();
        let sums = [
            ("crc32", sums.checksum_crc32),
            ("crc32c", sums.checksum_crc32c),
            ("crc64nvme", sums.checksum_crc64nvme),
            ("sha1", sums.checksum_sha1),
            ("sha256", sums.checksum_sha256),
        ];
        let sums = sums.into_iter().filter_map(|(name, sum)| Some((name.to_owned(), sum?))).collect();
        Digested { md5: self.md5.finalize().to_vec(), sums }
    }
}

/// The `ETag` of an object made of parts: the MD5 of their MD5s, and how many. Fails on one that is no MD5.
pub(super) fn etag_of_parts<'a>(etags: impl ExactSizeIterator<Item = &'a str>) -> S3Result<String> {
    let count = etags.len();
    let mut whole = Md5::new();
    for etag in etags {
        let digit = |at: usize| etag.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..16).map(|byte| digit(byte * 2)).collect();
        whole.update(&bytes.ok_or_else(|| S3Error::new(S3ErrorCode::InvalidPart))?);
    }
    Ok(format!("{}-{count}", hex(&whole.finalize())))
}

/// The headers that tell sums.
pub(super) fn headers(sums: &Sums) -> HeaderMap {
    let header = |(name, sum): (&String, &String)| {
        let name = HeaderName::try_from(format!("{PREFIX}{name}")).ok()?;
        Some((name, HeaderValue::try_from(sum).ok()?))
    };
    sums.iter().filter_map(header).collect()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        text.write_fmt(format_args!("{byte:02x}")).expect("a String takes everything");
        text
    })
}

/// Undoes [`hex`].
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Base64 with padding. Source: RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_bytes() {
        let all = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(unhex(&hex(&[0, 255, 16])).unwrap(), [0, 255, 16]);
        assert!(unhex("0").is_none() && unhex("zz").is_none() && unhex("é").is_none());
    }

    #[test]
    fn what_is_not_what_was_sent_is_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        let found = |wanted: &Wanted| {
            let mut digest = wanted.digest();
            digest.update(b"hello");
            digest.finish()
        };
        let good = headers(&[("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="), ("x-amz-checksum-crc32", "NhCmhg==")]);
        let wanted = Wanted::of(&good).unwrap();
        wanted.check(&found(&wanted), None).unwrap();
        for bad in [("content-md5", "AAAAKrxLKna5cZ2REBfFkg=="), ("x-amz-checksum-sha1", "NhCmhg==")] {
            let wanted = Wanted::of(&headers(&[bad])).unwrap();
            assert_eq!(wanted.check(&found(&wanted), None).unwrap_err().code(), &S3ErrorCode::BadDigest);
        }
        let wanted = Wanted::of(&headers(&[("x-amz-trailer", "x-amz-checksum-crc32")])).unwrap();
        let trailers = headers(&[("x-amz-checksum-crc32", "AAAAAA==")]);
        assert!(wanted.check(&found(&wanted), Some(&trailers)).is_err());
        assert!(Wanted::of(&headers(&[("x-amz-checksum-xxhash3", "AAAAAA==")])).is_err());
    }

    #[test]
    fn the_etag_of_parts_is_what_other_servers_give() {
        let parts = ["5d41402abc4b2a76b9719d911017c592", "7d793037a0760186574b0282f2f435e7"];
        // md5 of the two md5s of `hello` and `world`.
        assert_eq!(etag_of_parts(parts.into_iter()).unwrap(), "065947336a2f2a95ba8899f3675c3be6-2");
        assert!(etag_of_parts(["short"].into_iter()).is_err());
    }
}
