//! As much of an AMQP client as the stories need: durable queues with a quorum of one. Source: AMQP 0-9-1.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Puts a letter into the queue if asked, waits until the server has it for good, and says how many are in it.
///
/// `url` is `amqp://USER:PASSWORD@HOST:PORT`.
pub async fn letters(url: &str, queue: &str, add: bool) -> io::Result<u32> {
    let mut link = Link::open(url).await?;
    link.declare(queue).await?;
    if add {
        link.call(1, 85, 10, b"\0").await?;
        link.expect(85, 11).await?;
        link.call(1, 60, 40, &[b"\0\0\0", &short(queue)[..], b"\0"].concat()).await?;
        // class, weight, size of the body, the property `delivery-mode`: persistent
        link.frame(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\x05\x10\0\x02").await?;
        link.frame(3, 1, b"hello").await?;
        link.expect(60, 80).await?;
    }
    let count = link.declare(queue).await?;
    link.close().await?;
    Ok(count)
}

/// Takes a letter out of the queue for good; `false` when it is empty.
pub async fn take(url: &str, queue: &str) -> io::Result<bool> {
    let mut link = Link::open(url).await?;
    link.declare(queue).await?;
    link.call(1, 60, 70, &[b"\0\0", &short(queue)[..], b"\0"].concat()).await?;
    let answer = link.read().await?;
    let taken = answer.starts_with(&[0, 60, 0, 71]);
    if taken {
        // its properties, and its body, which is short
        link.read().await?;
        link.read().await?;
        let tag = answer.get(4..12).ok_or_else(|| io::Error::other("no tag"))?;
        link.call(1, 60, 80, &[tag, b"\0"].concat()).await?;
    }
    link.close().await?;
    Ok(taken)
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap_or(u8::MAX)], text.as_bytes()].concat()
}

struct Link(TcpStream);

impl Link {
    /// Logs in and opens a channel.
    async fn open(url: &str) -> io::Result<Self> {
        let bad = || io::Error::other("expected amqp://USER:PASSWORD@HOST:PORT");
        let (login, place) = url.strip_prefix("amqp://").and_then(|rest| rest.split_once('@')).ok_or_else(bad)?;
        let (user, password) = login.split_once(':').ok_or_else(bad)?;
        let mut link = Self(TcpStream::connect(place).await?);
        link.0.write_all(b"AMQP\0\0\x09\x01").await?;
        link.expect(10, 10).await?;
        let login = format!("\0{user}\0{password}");
        let length = u32::try_from(login.len()).map_err(io::Error::other)?.to_be_bytes();
        link.call(0, 10, 11, &[b"\0\0\0\0\x05PLAIN", &length[..], login.as_bytes(), b"\x05en_US"].concat()).await?;
        let limits = link.expect(10, 30).await?;
        link.call(0, 10, 31, &limits).await?;
        link.call(0, 10, 40, b"\x01/\0\0").await?;
        link.expect(10, 41).await?;
        link.call(1, 20, 10, b"\0").await?;
        link.expect(20, 11).await?;
        Ok(link)
    }

    /// Makes sure that a queue is there, of whatever kind; how many letters it holds.
    async fn declare(&mut self, queue: &str) -> io::Result<u32> {
        let queue = short(queue);
        // passive: only a look
        self.call(1, 50, 10, &[b"\0\0", &queue[..], b"\x01\0\0\0\0"].concat()).await?;
        let mut told = self.read().await?;
        if told.starts_with(&[0, 20, 0, 40]) {
            // The channel of a look that fails is closed.
            self.call(1, 20, 41, &[]).await?;
            self.call(1, 20, 10, b"\0").await?;
            self.expect(20, 11).await?;
            // durable; x-queue-type = quorum
            let arguments = b"\x0cx-queue-typeS\0\0\0\x06quorum";
            let length = u32::try_from(arguments.len()).map_err(io::Error::other)?.to_be_bytes();
            self.call(1, 50, 10, &[b"\0\0", &queue[..], b"\x02", &length[..], &arguments[..]].concat()).await?;
            told = self.read().await?;
        }
        let told = told.strip_prefix(&[0, 50, 0, 11]);
        let count =
            told.and_then(|told| told.get(queue.len()..queue.len() + 4)).and_then(|count| count.try_into().ok());
        count.map(u32::from_be_bytes).ok_or_else(|| io::Error::other("no such queue, and none can be made"))
    }

    async fn close(mut self) -> io::Result<()> {
        self.call(0, 10, 50, b"\0\xc8\0\0\0\0\0").await?;
        self.expect(10, 51).await.map(drop)
    }

    async fn call(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) -> io::Result<()> {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes()[..], arguments].concat();
        self.frame(1, channel, &payload).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
        let size = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let head = [&[kind][..], &channel.to_be_bytes()[..], &size.to_be_bytes()[..]].concat();
        self.0.write_all(&[&head[..], payload, &[0xce]].concat()).await
    }

    /// The arguments of the next method, which must be this one.
    async fn expect(&mut self, class: u16, method: u16) -> io::Result<Vec<u8>> {
        let payload = self.read().await?;
        let start = [class.to_be_bytes(), method.to_be_bytes()].concat();
        match payload.strip_prefix(start.as_slice()) {
            Some(arguments) => Ok(arguments.to_vec()),
            None => Err(io::Error::other(String::from_utf8_lossy(&payload).into_owned())),
        }
    }

    /// What the next frame carries.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = vec![0; size + 1];
        self.0.read_exact(&mut payload).await?;
        payload.pop();
        Ok(payload)
    }
}
