//! The agent's API on its unix socket; see [`protocol`](crate::protocol).

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use engine::target::{Target, TargetError};
use serde::Deserialize;
use stack::{AppName, EnvironmentName, ResourceName, ResourceRef};

use crate::{
    error::Error,
    exec, functions, health,
    host::Host,
    peers,
    protocol::{Call, LogLine, Reply, Request, Scope},
    schedule, services,
    target::HostTarget,
    upload,
    values::{self, Key, Values},
};

/// Largest call: a desired state or a set of values is far smaller.
const LARGEST: usize = 8 << 20;

/// All routes.
pub(crate) fn router(host: Arc<Host>) -> Router {
    Router::new()
        .route("/v1/call", post(call))
        .route("/v1/logs", get(logs))
        .route("/v1/exec", post(exec::serve))
        .route("/v1/health", get(report))
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST))
        .merge(upload::routes())
        .with_state(host)
}

async fn call(State(host): State<Arc<Host>>, body: Bytes) -> Response {
    match read(&body) {
        Ok(request) => respond(&host, request).await,
        Err(error) => refuse(&error),
    }
}

/// The call in a body.
pub(crate) fn read(body: &[u8]) -> Result<Request, TargetError> {
    serde_json::from_slice(body).map_err(|error| TargetError::Failed {
        reason: format!("this agent does not understand the call ({error}); restart it with the caller's version"),
    })
}

/// Does what is asked.
pub(crate) async fn respond(host: &Arc<Host>, request: Request) -> Response {
    match answer(host, request).await {
        Ok(reply) => Json(reply).into_response(),
        Err(error) => refuse(&error),
    }
}

pub(crate) fn refuse(error: &TargetError) -> Response {
    let status = match error {
        TargetError::Locked { .. } | TargetError::Fenced { .. } => StatusCode::CONFLICT,
        TargetError::Unreachable { .. } => StatusCode::BAD_GATEWAY,
        TargetError::Failed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Json(error)).into_response()
}

async fn answer(host: &Arc<Host>, request: Request) -> Result<Reply, TargetError> {
    match (request.call, request.scope) {
        (Call::Info, _) => Ok(Reply::Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary: crate::program::own_digest().await?,
            pid: std::process::id(),
            started_at: host.started_at,
            host: crate::host_file::HostFile::find(&host.home)?,
            load: load(),
        }),
        (Call::Scopes, _) => Ok(Reply::Scopes { scopes: host.scopes() }),
        (Call::Shutdown, _) => shut_down(host).await,
        (Call::Observe, Some(scope)) => {
            let observed = match host.find(&scope)? {
                Some(environment) => HostTarget { host: host.clone(), environment }.observe().await?,
                None => engine::desired::Observed::default(),
            };
            Ok(Reply::Observed { observed: Box::new(observed) })
        }
        (Call::Journal, Some(scope)) => {
            let entries = match host.find(&scope)? {
                Some(environment) => HostTarget { host: host.clone(), environment }.journal().await?,
                None => Vec::new(),
            };
            Ok(Reply::Journal { entries })
        }
        (Call::Runs, Some(scope)) => {
            let runs = host.find(&scope)?.map_or_else(Vec::new, |environment| schedule::runs(&environment));
            Ok(Reply::Runs { runs })
        }
        (Call::DeadLetters, Some(scope)) => {
            let folder = host.find(&scope)?.map(|environment| environment.functions.sources.dead());
            Ok(Reply::DeadLetters { letters: folder.as_deref().map(functions::dead_letters).unwrap_or_default() })
        }
        (Call::Members, Some(scope)) => {
            let known = host.find(&scope)?.and_then(|environment| environment.membership());
            let me = known.as_ref().map(|known| known.me.clone());
            Ok(Reply::Members { me, members: known.map(|known| Box::new(known.members.clone())) })
        }
        (Call::Level, Some(scope)) => {
            let done = match host.find(&scope)? {
                Some(environment) => peers::level(host, &environment).await?,
                None => Vec::new(),
            };
            Ok(Reply::Level { done })
        }
        (Call::PeerState, Some(scope)) => {
            let state = host.find(&scope)?.map(|environment| peers::state(&environment)).unwrap_or_default();
            Ok(Reply::PeerState { state: Box::new(state) })
        }
        (call, Some(scope)) => change(host, &scope, call).await,
        (_, None) => Err(Error::failed("the call needs a scope: name app and environment").into()),
    }
}

/// Calls that change an environment, which begins with the first of them.
async fn change(host: &Arc<Host>, scope: &Scope, call: Call) -> Result<Reply, TargetError> {
    let target = HostTarget { host: host.clone(), environment: host.get(scope)? };
    match call {
        Call::Lock { holder, ttl_ms } => {
            let fence = target.lock(&holder, std::time::Duration::from_millis(ttl_ms)).await?;
            return Ok(Reply::Fence { fence });
        }
        Call::Renew { fence, ttl_ms } => target.renew(fence, std::time::Duration::from_millis(ttl_ms)).await?,
        Call::Unlock { fence } => target.unlock(fence).await?,
        Call::Ship { revision, fence } => target.ship(&revision, fence).await?,
        Call::Want { desired, fence } => target.want(&desired, fence).await?,
        Call::Task { task, fence } => return Ok(Reply::Task { end: target.task(&task, fence).await? }),
        Call::Append { entry, fence } => target.append(&entry, fence).await?,
        Call::Adopt { level, fence } => target.level(&level, fence).await?,
        Call::PutValues { values, secrets } => {
            let (host, environment) = (host.clone(), target.environment.clone());
            let fleet = environment.membership().map(|known| Key::of_fleet(&known.members.identity));
            let values = Values { values, secrets: secrets.into_iter().collect() };
            let id = tokio::task::spawn_blocking(move || {
                values::put(&environment.folder, fleet.as_ref().unwrap_or(&host.key), values)
            })
            .await;
            let id = id.map_err(|error| Error::failed(format!("the agent broke down: {error}")))??;
            return Ok(Reply::Values { id });
        }
        Call::PutMembers { me, members } => target.put_members(me, *members).await?,
        Call::Start { name, event } => {
            return Ok(Reply::Started { id: functions::start(host, &target.environment, &name, event)? });
        }
        Call::Claim { claim } => {
            let environment = target.environment.clone();
            let stands = tokio::task::spawn_blocking(move || environment.claims.enter(&claim)).await;
            let stands = stands.map_err(|error| Error::failed(format!("the agent broke down: {error}")))??;
            return Ok(Reply::Claimed { claim: stands });
        }
        Call::Redeliver { to } => functions::redeliver(host, &target.environment, to)?,
        Call::Promote { deploy } => target.promote(deploy).await?,
        Call::Info
        | Call::Scopes
        | Call::Shutdown
        | Call::Observe
        | Call::Journal
        | Call::Runs
        | Call::DeadLetters
        | Call::Members
        | Call::PeerState
        | Call::Level => {}
    }
    Ok(Reply::Done)
}

async fn shut_down(host: &Arc<Host>) -> Result<Reply, TargetError> {
    let idle = host.environments().iter().all(|environment| {
        environment.desired() == engine::desired::Desired::default() && environment.instances().is_empty()
    });
    if idle {
        for environment in host.environments() {
            services::stop_all(&environment).await?;
        }
        host.edge.stop().await?;
    }
    tracing::info!(edge = if idle { "stopped" } else { "goes on" }, "told to end");
    host.stopping.cancel();
    Ok(Reply::Done)
}

#[derive(Debug, Deserialize)]
struct Place {
    app: AppName,
    environment: EnvironmentName,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    app: AppName,
    environment: EnvironmentName,
    /// A name, or kind and name, as in `database.main`.
    service: Option<String>,
    lines: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// Lines of output as JSON, one per line.
async fn logs(State(host): State<Arc<Host>>, Query(wanted): Query<Wanted>) -> Response {
    let scope = Scope { app: wanted.app, environment: wanted.environment };
    let last = wanted.lines.unwrap_or(100);
    let folder = match host.find(&scope) {
        Ok(Some(environment)) => environment.folder.join("logs"),
        Ok(None) => host.home.environment(&scope).join("logs"),
        Err(error) => return refuse(&error),
    };
    let is_name = |name: &str| name.parse::<ResourceName>().is_ok() || name.parse::<ResourceRef>().is_ok();
    let folder = match wanted.service {
        Some(name) if is_name(&name) => folder.join(name),
        Some(name) => return refuse(&Error::failed(format!("`{name}` is no name; write one as in `api`")).into()),
        None => folder,
    };
    let failed = |error: std::io::Error| refuse(&Error::file("read", &folder)(error).into());
    let body = if wanted.follow {
        let follow = match crate::log::follow(&folder, last).await {
            Ok(follow) => follow,
            Err(error) => return failed(error),
        };
        let stopping = host.stopping.clone();
        Body::from_stream(futures_util::stream::unfold((follow, stopping), |(mut follow, stopping)| async {
            let line = tokio::select! {
                () = stopping.cancelled() => return None,
                line = follow.next() => line,
            };
            Some((line.and_then(|line| to_line(&line)), (follow, stopping)))
        }))
    } else {
        let read = folder.clone();
        match tokio::task::spawn_blocking(move || crate::log::read(&read, last)).await {
            Ok(Ok(lines)) => match lines.iter().map(to_line).collect::<Result<Vec<_>, _>>() {
                Ok(lines) => Body::from(lines.concat()),
                Err(error) => return failed(error),
            },
            Ok(Err(error)) => return failed(error),
            Err(error) => return failed(std::io::Error::other(error)),
        }
    };
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

fn to_line(line: &LogLine) -> std::io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

/// The health report of an environment.
async fn report(State(host): State<Arc<Host>>, Query(place): Query<Place>) -> Response {
    let scope = Scope { app: place.app, environment: place.environment };
    let environment = match host.find(&scope) {
        Ok(Some(environment)) => environment,
        Ok(None) => {
            return refuse(&Error::failed(format!("nothing of {scope} is on this host; deploy it first")).into());
        }
        Err(error) => return refuse(&error),
    };
    match health::report(&host, &environment).await {
        Ok(report) => {
            let status = StatusCode::from_u16(report.http_status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            (status, Json(report)).into_response()
        }
        Err(error) => refuse(&error.into()),
    }
}

/// Processes that want to run, over the last minute, for each core.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let waiting: f64 = text.split(' ').next()?.parse().ok()?;
    Some(waiting / f64::from(u32::try_from(cores).ok()?))
}
