//! Compressed variants of site files, made once per content.

use std::io::{self, Read, Write};

/// Smaller files are not worth it: they fit one packet either way.
pub(crate) const SMALLEST: u64 = 1024;

/// Larger files are downloads, not parts of a page, and are compressed by those who offer them.
pub(crate) const LARGEST: u64 = 64 * 1024 * 1024;

/// A variant has to save at least one part in this many: 5 %.
const WORTH: u64 = 20;

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Gzip,
    Zstd,
}

impl Coding {
    pub(crate) const ALL: [Coding; 3] = [Coding::Brotli, Coding::Gzip, Coding::Zstd];

    /// Its name in `Content-Encoding` and in the site index.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        }
    }

    /// What is added to the file's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
            Coding::Zstd => ".zst",
        }
    }

    /// The compressed content, the same bytes each time; `None` when it would save less than 5 %.
    pub(crate) fn compress(self, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let compressed = match self {
            Coding::Brotli => {
                let mut params = brotli::enc::BrotliEncoderParams {
                    // The best takes a second per megabyte: only for what most sites are made of.
                    quality: if content.len() <= 512 * 1024 { 11 } else { 9 },
                    size_hint: content.len(),
                    ..Default::default()
                };
                params.lgwin = 22;
                let mut out = Vec::new();
                brotli::BrotliCompress(&mut io::Cursor::new(content), &mut out, &params)?;
                out
            }
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(content)?;
                encoder.finish()?
            }
            // Above 19 browsers may refuse the window.
            Coding::Zstd => zstd::bulk::compress(content, 19)?,
        };
        let (size, limit) = (content.len() as u64, content.len() as u64 / WORTH);
        Ok((compressed.len() as u64 <= size - limit).then_some(compressed))
    }

    /// Reads compressed bytes as what they were.
    pub(crate) fn decoder<'a>(self, compressed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Coding::Brotli => Box::new(brotli::Decompressor::new(compressed, 64 * 1024)),
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(compressed)),
            Coding::Zstd => Box::new(zstd::Decoder::new(compressed)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn what_is_compressed_reads_back(word in "[a-z]{1,20}", times in 100_usize..400) {
            let content = word.repeat(times).into_bytes();
            for coding in Coding::ALL {
                let compressed = coding.compress(&content).unwrap().expect("repetition is worth it");
                prop_assert_eq!(&compressed, &coding.compress(&content).unwrap().unwrap());
                let mut back = Vec::new();
                coding.decoder(compressed.as_slice()).unwrap().read_to_end(&mut back).unwrap();
                prop_assert_eq!(&back, &content);
            }
        }
    }

    #[test]
    fn what_does_not_shrink_has_no_variant() {
        let mut noise = vec![0; 4096];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(Coding::ALL.iter().all(|coding| coding.compress(&noise).unwrap().is_none()));
    }
}
