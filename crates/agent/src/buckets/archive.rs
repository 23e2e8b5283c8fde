//! Compressed objects: a zstd file that can be read from any place.
//!
//! Each mebibyte of the object is a frame of its own, and before each frame a skippable frame says how long it is, so
//! that `zstd -d` reads the file too. Source: RFC 8878 section 3.1.2.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    os::unix::fs::FileExt,
};

/// Bytes of the object in one frame.
pub(super) const FRAME: u64 = 1 << 20;

/// Begins a skippable frame of four bytes.
const SKIPPABLE: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0];

/// Bytes of the skippable frame.
const HEADER: u64 = 12;

/// What compression costs is paid once, what it saves every day.
const LEVEL: i32 = 9;

/// Writes `from` compressed to `to`. Returns the bytes written.
pub(super) fn write(from: &File, to: &File) -> io::Result<u64> {
    let mut to = BufWriter::new(to);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    let mut written = 0;
    loop {
        let mut block = Vec::new();
        from.take(FRAME).read_to_end(&mut block)?;
        if block.is_empty() {
            to.flush()?;
            return Ok(written);
        }
        let frame = compressor.compress(&block)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        to.write_all(&SKIPPABLE)?;
        to.write_all(&length.to_le_bytes())?;
        to.write_all(&frame)?;
        written += HEADER + u64::from(length);
    }
}

/// Where in a compressed file a reader is.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Place {
    /// Byte of the file at which a frame begins.
    at: u64,
    /// Number of that frame.
    frame: u64,
}

/// The bytes of the object from `offset` to the end of the frame it lies in. `place` saves looking for it; it moves on.
pub(super) fn read(file: &File, place: &mut Place, offset: u64) -> io::Result<Vec<u8>> {
    loop {
        let mut header = [0; 12];
        file.read_exact_at(&mut header, place.at)?;
        let (begin, length) = header.split_at(8);
        if begin != SKIPPABLE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a compressed object is damaged"));
        }
        let length = u32::from_le_bytes(length.try_into().map_err(io::Error::other)?);
        if place.frame == offset / FRAME {
            let mut frame = vec![0; length as usize];
            file.read_exact_at(&mut frame, place.at + HEADER)?;
            let largest = usize::try_from(FRAME).map_err(io::Error::other)?;
            let mut block = zstd::bulk::decompress(&frame, largest)?;
            let skip = usize::try_from(offset % FRAME).map_err(io::Error::other)?;
            block.drain(..skip.min(block.len()));
            return Ok(block);
        }
        place.at += HEADER + u64::from(length);
        place.frame += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn any_place_of_a_compressed_object_can_be_read_and_zstd_reads_it_too() {
        let content: Vec<u8> =
            (0..2_500_000u32).flat_map(|number| (number / 7).to_le_bytes()).take(2_500_000).collect();
        let mut plain = tempfile::tempfile().unwrap();
        plain.write_all(&content).unwrap();
        plain.rewind().unwrap();
        let mut packed = tempfile::tempfile().unwrap();
        let written = write(&plain, &packed).unwrap();
        assert!(written < 1_000_000 && packed.metadata().unwrap().len() == written);
        for offset in [0, 1, 1_048_575, 1_048_576, 2_499_999] {
            let block = read(&packed, &mut Place::default(), offset as u64).unwrap();
            assert!(!block.is_empty() && content[offset..].starts_with(&block), "{offset}");
        }
        packed.rewind().unwrap();
        assert_eq!(zstd::decode_all(&packed).unwrap(), content);
        assert!(read(&plain, &mut Place::default(), 0).is_err());
    }
}
