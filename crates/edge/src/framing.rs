//! Watches HTTP/1 requests go by and finds those framed twice, with `Content-Length` and `Transfer-Encoding`.
//!
//! hyper follows `Transfer-Encoding` and drops the other header before anybody can see it. That is one of the two
//! things RFC 9112 section 6.3 allows; the edge does the other and refuses, because whoever sends such a request is
//! trying to smuggle a second one past somebody. The watcher follows the stream from head to head: it skips bodies by
//! their length or chunk by chunk, and gives up for good where it does not understand, as hyper refuses that anyway.

/// Where in the stream the next byte is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a head, at or after the start of a line.
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    /// In the line that gives a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk and its line end are to come.
    Chunk(u64),
    /// In the lines after the last chunk.
    Trailers,
    /// Not followed any more.
    Lost,
}

/// The start of a line is all that is looked at; longer ones only need their end.
const KEPT: usize = 64;

/// The watcher of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    place: Place,
    /// The start of a line that is not complete yet.
    line: Vec<u8>,
    /// The line so far is longer than what is kept of it.
    cut: bool,
    /// The request line has been seen.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
    /// Heads completed.
    requests: u32,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            place: Place::Head,
            line: Vec::new(),
            cut: false,
            begun: false,
            length: None,
            chunked: false,
            requests: 0,
        }
    }
}

impl Framing {
    /// Looks at the next bytes; returns the number (from 0) of a request that is framed twice, when one is complete.
    pub(crate) fn look(&mut self, mut bytes: &[u8]) -> Option<u32> {
        let mut found = None;
        while !bytes.is_empty() {
            match self.place {
                Place::Lost => return found,
                Place::Body(left) => {
                    bytes = self.skip(bytes, left, Place::Body, Place::Head);
                }
                Place::Chunk(left) => {
                    bytes = self.skip(bytes, left, Place::Chunk, Place::ChunkSize);
                }
                Place::Head | Place::ChunkSize | Place::Trailers => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.keep(bytes);
                        return found;
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = &rest[1..];
                    if self.line.is_empty() {
                        self.line(line, &mut found);
                    } else {
                        self.keep(line);
                        let kept = std::mem::take(&mut self.line);
                        self.line(&kept, &mut found);
                        self.line = kept;
                        self.line.clear();
                    }
                    self.cut = false;
                }
            }
        }
        found
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, stay: fn(u64) -> Place, then: Place) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - here as u64;
        self.place = if left == 0 { then } else { stay(left) };
        &bytes[here..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.line.len());
        self.cut |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, line: &[u8], found: &mut Option<u32>) {
        let line = if self.cut { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        match self.place {
            Place::Head if line.is_empty() && self.begun => self.end_of_head(found),
            Place::Head if line.is_empty() => {} // hyper overlooks empty lines before a request
            Place::Head if !self.begun => self.begun = true,
            Place::Head => match line[0] {
                b'c' | b'C' => {
                    if let Some(value) = value(line, b"content-length") {
                        self.length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                        if self.length.is_none() {
                            self.place = Place::Lost;
                        }
                    }
                }
                b't' | b'T' => self.chunked |= value(line, b"transfer-encoding").is_some(),
                _ => {}
            },
            Place::ChunkSize => {
                let digits = line.split(|byte| !byte.is_ascii_hexdigit()).next().unwrap_or_default();
                let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
                self.place = match size {
                    Some(0) => Place::Trailers,
                    // the chunk's own line end follows it; a lone line feed would have been refused by hyper
                    Some(size) if size < u64::MAX - 2 => Place::Chunk(size + 2),
                    _ => Place::Lost,
                };
            }
            Place::Trailers if line.is_empty() => self.place = Place::Head,
            _ => {}
        }
    }

    fn end_of_head(&mut self, found: &mut Option<u32>) {
        if self.chunked && self.length.is_some() {
            *found = Some(self.requests);
            self.place = Place::Lost; // the connection is closed after the refusal
        } else if self.chunked {
            self.place = Place::ChunkSize;
        } else if let Some(length) = self.length.filter(|length| *length > 0) {
            self.place = Place::Body(length);
        }
        self.requests = self.requests.wrapping_add(1);
        (self.begun, self.length, self.chunked) = (false, None, false);
    }
}

/// The value of a header line if it is the one called `name`.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    (start.eq_ignore_ascii_case(name)).then_some(())?;
    rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWICE: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// The answer must not depend on how the bytes are cut.
    fn look(stream: &str) -> Option<u32> {
        let whole = Framing::default().look(stream.as_bytes());
        for size in [1, 2, 3, 7, 64] {
            let mut framing = Framing::default();
            let mut found = None;
            for piece in stream.as_bytes().chunks(size) {
                found = found.or(framing.look(piece));
            }
            assert_eq!(found, whole, "in pieces of {size}: {stream:?}");
        }
        whole
    }

    #[test]
    fn finds_requests_framed_twice() {
        assert_eq!(look(TWICE), Some(0));
        assert_eq!(look(&TWICE.to_lowercase()), Some(0));
        let reversed = "POST / HTTP/1.1\r\ntransfer-encoding : chunked\r\ncontent-length:5\r\n\r\n";
        assert_eq!(look(reversed), Some(0));
        assert_eq!(look(&TWICE.replace("\r\n", "\n")), Some(0));
    }

    #[test]
    fn follows_bodies_and_does_not_mistake_them_for_heads() {
        let sized = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{TWICE}", TWICE.len());
        assert_eq!(look(&sized), None);
        assert_eq!(look(&format!("{sized}GET / HTTP/1.1\r\nHost: a\r\n\r\n")), None);
        assert_eq!(look(&format!("{sized}{TWICE}")), Some(1));
        let chunked = format!(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x};name=value\r\n{TWICE}\r\n0\r\nX-Sum: 1\r\n\r\n",
            TWICE.len()
        );
        assert_eq!(look(&chunked), None);
        assert_eq!(look(&format!("{chunked}{chunked}{TWICE}")), Some(2));
        assert_eq!(look(&format!("\r\nGET / HTTP/1.1\r\n\r\n{TWICE}")), Some(1));
    }

    #[test]
    fn long_lines_are_only_skipped() {
        let long = format!("GET /{} HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(5000), "y".repeat(5000));
        assert_eq!(look(&format!("{long}{TWICE}")), Some(1));
    }
}
