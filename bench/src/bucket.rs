//! Objects of a bucket over its S3 endpoint, beside files over nginx.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{
    Arguments,
    fault::{Doing, Fault},
    peers::nginx_store,
    row::{Row, median},
    stand::{HOST, Stand},
    visit::get,
};

/// Bytes of an object, how many of them in a round, and what they are called.
const SIZES: [(usize, usize, &str); 2] = [(1 << 10, 200, "1 KB"), (16 << 20, 6, "16 MB")];

/// Milliseconds for each object, put and got, one after the other over one connection.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let stand = Stand::harbour_with("needs = [\"bucket.files\"]", "[bucket.files]\n")?;
    stand.slipway(&["deploy", "--yes"])?;
    let (_, told) = get(stand.address, HOST, "/bucket").ok_or_else(|| Fault::new("the application does not answer"))?;
    let bucket = Bucket::of(&told)?;
    let folder = tempfile::tempdir_in(stand.home()).doing("no temporary folder")?;
    let nginx = nginx_store(folder.path())?;
    let mut rows = Vec::new();
    for (size, count, name) in SIZES {
        let mut body = vec![0; size];
        rand::fill(body.as_mut_slice());
        let (mut put, mut got) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let mut disk = Vec::new();
        for round in 0..arguments.rounds {
            let keys: Vec<String> = (0..count).map(|number| format!("{size}-{round}-{number}")).collect();
            for (index, store) in [Store::Bucket(&bucket), Store::Files(nginx.address)].into_iter().enumerate() {
                put[index].push(store.each(&keys, "PUT", &body)?);
                got[index].push(store.each(&keys, "GET", &body)?);
            }
            disk.push(flushed(folder.path(), count, &body)?);
        }
        let ([put, their_put], [got, their_got]) = (put.map(median), got.map(median));
        rows.push(Row::peer(&format!("bucket: put {name}, flushed"), put, "ms", "nginx, not flushed", their_put, None));
        rows.push(Row::peer(&format!("bucket: put {name}, flushed"), put, "ms", "the disk alone", median(disk), None));
        rows.push(Row::peer(&format!("bucket: get {name}"), got, "ms", "nginx", their_got, None));
    }
    Ok(rows)
}

/// Milliseconds to write, flush and rename a file, as whoever must not lose it has to.
fn flushed(folder: &Path, count: usize, body: &[u8]) -> Result<f64, Fault> {
    let begun = Instant::now();
    for number in 0..count {
        let (new, path) = (folder.join("new"), folder.join(format!("flushed-{number}")));
        let mut file = File::create(&new).doing(new.display())?;
        file.write_all(body).and_then(|()| file.sync_data()).doing(new.display())?;
        fs::rename(&new, &path).doing(path.display())?;
    }
    Ok(each(begun.elapsed(), count))
}

fn each(took: Duration, count: usize) -> f64 {
    let count = u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    took.as_secs_f64() * 1e3 / count
}

/// Where objects go.
enum Store<'b> {
    Bucket(&'b Bucket),
    Files(SocketAddr),
}

impl Store<'_> {
    /// Milliseconds for each of these keys; what is got must be what was put.
    fn each(&self, keys: &[String], method: &str, body: &[u8]) -> Result<f64, Fault> {
        let sent = if method == "PUT" { body } else { &[] };
        let requests: Vec<String> = keys.iter().map(|key| self.request(method, key, sent)).collect();
        let address = match self {
            Self::Bucket(bucket) => bucket.address,
            Self::Files(address) => *address,
        };
        let mut stream = TcpStream::connect(address).doing(address)?;
        stream.set_nodelay(true).doing(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).doing(address)?;
        let begun = Instant::now();
        for request in &requests {
            stream.write_all(request.as_bytes()).doing(address)?;
            stream.write_all(sent).doing(address)?;
            let answer = answer(&mut stream).doing(format_args!("{method} at {address}"))?;
            if method == "GET" && answer != body {
                return Err(Fault::new(format!("{address} answered with something else than was put")));
            }
        }
        Ok(each(begun.elapsed(), keys.len()))
    }

    fn request(&self, method: &str, key: &str, body: &[u8]) -> String {
        let length = if method == "PUT" { format!("content-length: {}\r\n", body.len()) } else { String::new() };
        match self {
            Self::Bucket(bucket) => {
                let path = format!("/{}/{key}", bucket.name);
                let signed = bucket.sign(method, &path, body);
                format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{length}{signed}\r\n", bucket.address)
            }
            Self::Files(address) => format!("{method} /{key} HTTP/1.1\r\nhost: {address}\r\n{length}\r\n"),
        }
    }
}

/// The body of a good answer.
fn answer(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let broken = |what: &str| std::io::Error::other(what.to_owned());
    let (mut all, mut block) = (Vec::new(), vec![0; 256 << 10]);
    let end = loop {
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut block)? {
            0 => return Err(broken("no whole answer")),
            length => all.extend_from_slice(&block[..length]),
        }
    };
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        return Err(broken(&head));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let mut body = all.split_off(end);
    let begun = body.len();
    body.resize(length.unwrap_or(begun).max(begun), 0);
    stream.read_exact(&mut body[begun..])?;
    Ok(body)
}

/// A bucket as a program finds it.
struct Bucket {
    address: SocketAddr,
    name: String,
    access: String,
    secret: String,
}

impl Bucket {
    /// From endpoint, name, key and secret.
    fn of(told: &str) -> Result<Self, Fault> {
        let [endpoint, name, access, secret] = told.split(' ').collect::<Vec<_>>()[..] else {
            return Err(Fault::new(format!("the application does not know its bucket: {told}")));
        };
        let address = endpoint.trim_start_matches("http://").parse().doing(endpoint)?;
        let [name, access, secret] = [name, access, secret].map(|word| word.trim().to_owned());
        Ok(Self { address, name, access, secret })
    }

    /// The headers that sign a request. Source: the AWS documentation, "Signature Version 4 signing process".
    fn sign(&self, method: &str, path: &str, body: &[u8]) -> String {
        let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let (day, digest) = (&at[..8], hex(&Sha256::digest(body)));
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n\nhost:{}\nx-amz-content-sha256:{digest}\nx-amz-date:{at}\n\n{signed}\n{digest}",
            self.address
        );
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let key = format!("AWS4{}", self.secret).into_bytes();
        let key = scope.split('/').fold(key, |key, part| keyed(&key, part));
        let signature = hex(&keyed(&key, &text));
        format!(
            "x-amz-date: {at}\r\nx-amz-content-sha256: {digest}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}\r\n",
            self.access
        )
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
