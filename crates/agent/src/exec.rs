//! `POST /v1/exec`: a command that a person waits for, beside an instance or in a release.
//!
//! The request's body is a line of JSON, an [`ExecRequest`], and after it whatever the command is to read. The answer's
//! body is frames while the command runs: a byte that names the stream (1 output, 2 errors, 3 the end), the length of
//! what follows in four bytes, the highest first, and that many bytes; those of the end are the exit code as text. The
//! command ends when its caller goes away.

use std::{process::ExitStatus, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use engine::target::TargetError;
use futures_util::{Stream, StreamExt};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use stack::{Kind, ResourceName, Revision};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{
    Client, adoption, api, bindings, container,
    environment::Environment,
    error::Error,
    files,
    host::Host,
    instance_spec::{self, Record},
    protocol::{Scope, source_name},
    run::{self, Program},
    shim::{self, Adopted, Attached, Spec},
    socket, tenant, topics,
};

/// Longest first line of a request.
const LONGEST_LINE: usize = 1 << 20;
/// How much of a stream travels at once.
const PIECE: usize = 32 << 10;
/// Pieces that may wait for a slow reader; then the command waits as well.
const AHEAD: usize = 16;
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);

/// A command and where it is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Which environment.
    pub scope: Scope,
    /// Beside what.
    pub target: ExecTarget,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Beside what a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecTarget {
    /// In the folder, environment and limits of an instance that runs: by its id, or of a service.
    Beside(String),
    /// In the files and environment of a service of a release, whether or not it runs.
    Release {
        /// The release and its values.
        revision: Revision,
        /// The service.
        service: ResourceName,
    },
}

/// What comes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Bytes of its standard output.
    Out(Bytes),
    /// Bytes of its standard error.
    Err(Bytes),
    /// Its exit code, or 128 and the number of the signal that ended it. Nothing follows.
    End(i32),
}

const OUT: u8 = 1;
const ERR: u8 = 2;
const END: u8 = 3;

/// What is to be started.
struct Prepared {
    spec: Spec,
    beside: Option<shim::Record>,
    /// The run whose folder must be there, and be removed.
    run: Option<String>,
}

/// Answers a call.
pub(crate) async fn serve(State(host): State<Arc<Host>>, body: Body) -> Response {
    let mut input = body.into_data_stream();
    let begun = async {
        let (request, rest) = read_request(&mut input).await?;
        let environment = host.find(&request.scope)?;
        let environment = environment
            .ok_or_else(|| Error::failed(format!("nothing of {} is on this host; deploy it first", request.scope)))?;
        let prepared = prepare(&host, &environment, &request).await?;
        let attached = shim::attach(&host.binary, &prepared.spec, prepared.beside.as_ref()).await;
        let attached = attached.map_err(|error| Error::failed(error.to_string()));
        if attached.is_err() {
            clear(&environment, prepared.run.as_deref()).await;
        }
        Ok::<_, TargetError>((environment, prepared.run, attached?, rest))
    };
    let (environment, run, attached, rest) = match begun.await {
        Ok(begun) => begun,
        Err(error) => return api::refuse(&error),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let stopping = host.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = accompany(attached, input, rest, sender) => {}
            () = stopping.cancelled() => {}
        }
        clear(&environment, run.as_deref()).await;
    });
    let frames = futures_util::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
        let frame = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), receiver))
    });
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(frames)).into_response()
}

async fn clear(environment: &Environment, run: Option<&str>) {
    let Some(run) = run else { return };
    if let Err(error) = files::remove_folder(&environment.folder.join("tasks").join(run)) {
        tracing::warn!(scope = %environment.scope, "{error}");
    }
    container::sweep(environment).await;
}

async fn read_request(
    input: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin),
) -> Result<(ExecRequest, Bytes), Error> {
    let mut line = BytesMut::new();
    while !line.contains(&b'\n') {
        let piece = input.next().await.transpose().map_err(|error| Error::failed(error.to_string()))?;
        let piece =
            piece.ok_or_else(|| Error::failed("the call ends before its first line; send the request as one"))?;
        line.extend_from_slice(&piece);
        if line.len() > LONGEST_LINE {
            return Err(Error::failed("the command line is longer than 1 MiB; shorten it"));
        }
    }
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let request = serde_json::from_slice(&line[..end]).map_err(|error| {
        Error::failed(format!(
            "this agent does not understand the call ({error}); restart it with the caller's version"
        ))
    })?;
    line.advance(end + 1);
    Ok((request, line.freeze()))
}

async fn prepare(host: &Arc<Host>, environment: &Arc<Environment>, request: &ExecRequest) -> Result<Prepared, Error> {
    if request.command.is_empty() {
        return Err(Error::failed("no command was given"));
    }
    let load =
        |revision: &Revision| environment.revisions.get(&host.store, &environment.scope, &environment.folder, revision);
    match &request.target {
        ExecTarget::Beside(name) => {
            let id = find_instance(environment, name)?;
            let folder = environment.instance_folder(&id);
            let record: Record = files::find_json(&folder.join("instance.json"), "restart the instance")?
                .ok_or_else(|| Error::failed(format!("instance `{id}` is gone; look with `slipway status`")))?;
            let adopted = adoption::adopt(&folder).await.map_err(|error| Error::failed(error.to_string()))?;
            let Adopted::Running(running) = adopted else {
                return Err(Error::failed(format!("instance `{id}` does not run now; look with `slipway status`")));
            };
            let loaded = load(&record.revision)?;
            let mut spec = instance_spec::of(environment, &loaded, &record)?;
            spec.argv.clone_from(&request.command);
            if loaded.image(&loaded.service(&record.service)?.source)?.is_some() {
                container::attach(environment, &record.id, &mut spec);
            } else {
                spec.user = tenant::ensure(host, environment).await?;
            }
            Ok(Prepared { spec, beside: Some(running.record().clone()), run: None })
        }
        ExecTarget::Release { revision, service: name } => {
            let loaded = load(revision)?;
            let service = loaded.service(name)?;
            let place = environment.place(revision);
            let mut bound = bindings::of_service(&environment.scope, &loaded, service, &place)?;
            bound.env.extend(topics::events_url(&loaded, name, place.publishing.as_ref()));
            bound.env.insert("SLIPWAY_SERVICE".to_owned(), name.to_string());
            let id = run::id("run");
            let mut program = Program {
                id: &id,
                source: source_name(Kind::Service, name),
                argv: request.command.clone(),
                cwd: std::path::PathBuf::new(),
                bound,
                size: None,
                log_folder: environment.folder.join("tasks"),
                stdin: None,
                stdout: None,
            };
            let contained = program.enter(environment, &loaded, &service.source, &[&service.env])?;
            if contained {
                // Its standard input is ours.
                program.argv.insert(2, "--interactive".to_owned());
            }
            files::make_folder(&environment.folder.join("tasks").join(&id))?;
            let mut spec = Spec::new(program.argv, program.cwd, program.source, &id, program.log_folder);
            spec.env = program.bound.env;
            if !contained {
                spec.user = tenant::ensure(host, environment).await?;
            }
            Ok(Prepared { spec, beside: None, run: Some(id) })
        }
    }
}

/// An instance by its id, or one of a service: of those that are ready the oldest of the newest revision.
fn find_instance(environment: &Environment, name: &str) -> Result<String, Error> {
    let instances = environment.instances();
    if instances.contains_key(name) {
        return Ok(name.to_owned());
    }
    let desired = environment.desired();
    let share = |revision: &Revision| desired.traffic.get(revision).copied().unwrap_or(0);
    let of = instances.values().filter(|one| one.service.as_str() == name && one.pid.is_some());
    let best = of.min_by_key(|one| {
        let ready = one.state == engine::desired::InstanceState::Ready;
        (!ready, u8::MAX - share(&one.revision), one.started_at)
    });
    best.map(|one| one.id.clone()).ok_or_else(|| {
        let all: Vec<&str> = instances.keys().map(String::as_str).collect();
        let all = if all.is_empty() { "none runs".to_owned() } else { format!("there are: {}", all.join(", ")) };
        Error::failed(format!("no instance of `{name}` runs on this host; {all}"))
    })
}

/// Passes everything on until the command has ended, or its caller has gone.
async fn accompany(
    attached: Attached,
    mut input: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin + Send + 'static,
    rest: Bytes,
    frames: mpsc::Sender<Bytes>,
) {
    let Attached { mut child, mut stdin } = attached;
    let (went, gone) = tokio::sync::oneshot::channel();
    let feeding = tokio::spawn(async move {
        let mut piece = rest;
        loop {
            // A command that does not read, or has ended, is no fault.
            if stdin.write_all(&piece).await.is_err() {
                return;
            }
            match input.next().await {
                Some(Ok(next)) => piece = next,
                // Cut off in the middle.
                Some(Err(_)) => {
                    let _ended = went.send(());
                    return;
                }
                None => return,
            }
        }
    });
    let gone = async {
        tokio::select! {
            Ok(()) = gone => {}
            () = frames.closed() => {}
        }
    };
    let out = child.stdout.take().map(|out| tokio::spawn(pump(out, OUT, frames.clone())));
    let err = child.stderr.take().map(|err| tokio::spawn(pump(err, ERR, frames.clone())));
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let ended = tokio::select! {
        ended = child.wait() => ended.ok(),
        () = gone => {
            end(group, Signal::TERM);
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                end(group, Signal::KILL);
                drop(child.wait().await);
            }
            None
        }
    };
    feeding.abort();
    // What it left behind in its group would hold the pipes for ever.
    for pump in [out, err].into_iter().flatten() {
        let abort = pump.abort_handle();
        if tokio::time::timeout(GRACE, pump).await.is_err() {
            abort.abort();
        }
    }
    if let Some(status) = ended {
        drop(frames.send(frame(END, code(status).to_string().as_bytes())).await);
    }
}

fn end(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _gone = kill_process_group(group, signal);
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

async fn pump(mut stream: impl AsyncRead + Unpin, kind: u8, frames: mpsc::Sender<Bytes>) {
    let mut piece = vec![0; PIECE];
    while let Ok(length) = stream.read(&mut piece).await {
        if length == 0 || frames.send(frame(kind, &piece[..length])).await.is_err() {
            return;
        }
    }
}

fn frame(kind: u8, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + bytes.len());
    frame.put_u8(kind);
    frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    frame.put_slice(bytes);
    frame.freeze()
}

/// What comes of a command, as it comes.
#[derive(Debug)]
pub struct Exec {
    host: String,
    body: Incoming,
    pending: BytesMut,
    /// What is typed may have no end: the connection ends with this.
    _held: socket::Held,
}

impl Exec {
    /// The next piece; the last is an [`ExecOutput::End`]. Fails with `Unreachable` when the agent goes away before.
    pub async fn next(&mut self) -> Result<ExecOutput, TargetError> {
        loop {
            if let Some(output) = take(&mut self.pending) {
                return Ok(output);
            }
            let gone = |reason: String| TargetError::Unreachable { host: self.host.clone(), reason };
            match self.body.frame().await {
                Some(Ok(frame)) => self.pending.extend(frame.into_data().ok()),
                Some(Err(error)) => return Err(gone(format!("the command was cut off: {error}"))),
                None => return Err(gone("the command was cut off: its agent ended".to_owned())),
            }
        }
    }
}

fn take(pending: &mut BytesMut) -> Option<ExecOutput> {
    let length = u32::from_be_bytes(pending.get(1..5)?.try_into().ok()?) as usize;
    if pending.len() < 5 + length {
        return None;
    }
    let kind = pending[0];
    pending.advance(5);
    let bytes = pending.split_to(length).freeze();
    Some(match kind {
        OUT => ExecOutput::Out(bytes),
        ERR => ExecOutput::Err(bytes),
        _ => ExecOutput::End(std::str::from_utf8(&bytes).ok().and_then(|code| code.parse().ok()).unwrap_or(255)),
    })
}

impl Client {
    /// Starts a command; it reads what comes over `input`, until that is closed. Dropping the answer ends the command.
    ///
    /// Fails with `Unreachable` when no agent answers, and when the command cannot be started.
    pub async fn exec(&self, request: &ExecRequest, input: mpsc::Receiver<Vec<u8>>) -> Result<Exec, TargetError> {
        let failed = |reason: String| TargetError::Unreachable { host: self.host().to_owned(), reason };
        let path = self.socket().ok_or_else(|| failed("peers run no commands for each other".to_owned()))?;
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.to_string()))?;
        line.push(b'\n');
        let pieces = futures_util::stream::unfold((Some(line), input), |(line, mut input)| async {
            let piece = match line {
                Some(line) => line,
                None => input.recv().await?,
            };
            Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(piece))), (None, input)))
        });
        let body = StreamBody::new(pieces);
        let (response, held) = socket::stream(path, Method::POST, "/v1/exec", body).await.map_err(failed)?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
            return Err(serde_json::from_slice(&body).unwrap_or_else(|_| failed(format!("it answered {status}"))));
        }
        let (host, body) = (self.host().to_owned(), response.into_body());
        Ok(Exec { host, body, pending: BytesMut::new(), _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let whole = [frame(OUT, b"hello"), frame(ERR, b""), frame(END, b"7")].concat();
        for cut in 0..whole.len() {
            let mut pending = BytesMut::from(&whole[..cut]);
            let mut seen = Vec::new();
            seen.extend(std::iter::from_fn(|| take(&mut pending)));
            pending.extend_from_slice(&whole[cut..]);
            seen.extend(std::iter::from_fn(|| take(&mut pending)));
            let hello = Bytes::from_static(b"hello");
            assert_eq!(
                seen,
                [ExecOutput::Out(hello), ExecOutput::Err(Bytes::new()), ExecOutput::End(7)],
                "cut at {cut}"
            );
        }
    }
}
