//! Where programs publish: an address of the loopback for each environment, `POST /topic.orders` or `/service.api`.
//!
//! Programs know a port that the edge listens on, so that whoever publishes while the agent is being restarted waits
//! instead of being refused. The token in the query keeps other programs of the host out.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path as UrlPath, Query, State},
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stack::{Kind, ResourceRef};

use crate::{
    environment::Environment,
    error::Error,
    files,
    functions::{self, CloudEvent},
    host::Host,
    ports::{self, Port, Ports},
    revision::Loaded,
};

/// Largest request, in bytes: a batch of events.
const LARGEST: usize = 8 << 20;

/// What is published to a topic and says nothing of its type.
const MESSAGE: &str = "slipway.topic.message";

/// Where an environment's programs publish. Has no `Debug`: it must not be printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    port: u16,
    token: String,
}

impl Address {
    /// The address of a topic, or of a service that raises events, with the token.
    pub(crate) fn url(&self, source: &ResourceRef) -> String {
        format!("http://127.0.0.1:{}/{source}?token={}", self.port, self.token)
    }

    /// What must never be shown.
    pub(crate) fn secret(&self) -> &str {
        &self.token
    }
}

/// The address and who answers there.
pub(crate) struct Publishing {
    path: PathBuf,
    address: Mutex<Option<Address>>,
    kept: Mutex<Option<Port>>,
    listening: Mutex<Option<SocketAddr>>,
}

impl Publishing {
    /// What was given out before in the environment's folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("events.json");
        let address = files::find_json(&path, "remove it and deploy again")?;
        Ok(Self { path, address: Mutex::new(address), kept: Mutex::default(), listening: Mutex::default() })
    }

    /// Keeps the port from being given to others.
    pub(crate) fn keep(&self, ports: &Ports) {
        let port = self.address().as_ref().map(|address| ports.keep(address.port));
        *held(&self.kept) = port;
    }

    /// Gives the environment an address when something of a revision publishes. Durable when it returns.
    pub(crate) fn open_for(&self, loaded: &Loaded, ports: &Ports) -> Result<(), Error> {
        let mut address = self.address();
        if address.is_some() || !publishes(loaded) {
            return Ok(());
        }
        let port = ports.take(ports::INTERNAL)?;
        let made = Address { port: port.number(), token: secrets::generate(0).expose().to_owned() };
        files::replace_json(&self.path, &made)?;
        *address = Some(made);
        *held(&self.kept) = Some(port);
        Ok(())
    }

    /// The address, once something publishes.
    pub(crate) fn address(&self) -> MutexGuard<'_, Option<Address>> {
        held(&self.address)
    }

    /// The port that programs know, and where it leads once somebody answers.
    pub(crate) fn place(&self) -> Option<(u16, Option<SocketAddr>)> {
        Some((self.address().as_ref()?.port, *held(&self.listening)))
    }

    /// Answers from now on, once there is an address. `false`: to be tried again.
    pub(crate) async fn serve(&self, host: &Arc<Host>, environment: &Arc<Environment>) -> bool {
        if self.address().is_none() || held(&self.listening).is_some() {
            return true;
        }
        let opened = async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            Ok::<_, std::io::Error>((listener.local_addr()?, listener))
        };
        let opened = opened.await;
        environment.trouble("publishing", opened.as_ref().err().map(|error| format!("nobody can publish: {error}")));
        let Ok((address, listener)) = opened else { return false };
        let stop = host.stopping.clone();
        let router = Router::new()
            .route("/{source}", post(publish))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(environment.clone());
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        tokio::spawn(serving.into_future());
        *held(&self.listening) = Some(address);
        environment.touch();
        true
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something of a release publishes.
fn publishes(loaded: &Loaded) -> bool {
    let stack = &loaded.resolved.stack;
    let raised = stack.functions.values().filter_map(|function| function.on.as_ref());
    stack.extras.keys().any(|name| name.kind == Kind::Topic) || raised.into_iter().any(|on| on.on.kind == Kind::Service)
}

/// Whether functions of a release wait for events that a service raises.
pub(crate) fn raises(loaded: &Loaded, service: &stack::ResourceName) -> bool {
    let triggers = loaded.resolved.stack.functions.values().filter_map(|function| function.on.as_ref());
    triggers.into_iter().any(|trigger| trigger.on.kind == Kind::Service && trigger.on.name == *service)
}

#[derive(Deserialize)]
struct Asked {
    token: Option<String>,
    /// The event's type, when nothing else says it.
    #[serde(rename = "type")]
    kind: Option<String>,
}

async fn publish(
    State(environment): State<Arc<Environment>>,
    UrlPath(source): UrlPath<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let refuse = |status: StatusCode, why: String| (status, Json(json!({ "error": why }))).into_response();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let given = bearer.or(asked.token.as_deref()).unwrap_or_default();
    // Digests take as long to compare whichever byte differs.
    let known = environment
        .functions
        .publishing
        .address()
        .as_ref()
        .is_some_and(|address| blake3::hash(address.token.as_bytes()) == blake3::hash(given.as_bytes()));
    if !known {
        return refuse(StatusCode::UNAUTHORIZED, "use the whole address from the variable, with its token".to_owned());
    }
    let Some(source) = find(&environment, &source) else {
        return refuse(StatusCode::NOT_FOUND, format!("`{source}` is no topic of what runs here; see its stack file"));
    };
    let events = match read(&environment, &source, asked.kind, &headers, &body) {
        Ok(events) => events,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if events.iter().any(|event| event.to_json().map_or(0, |text| text.len()) > functions::LARGEST_EVENT) {
        let why = format!(
            "an event may have {} bytes; put the data into a bucket and send its key",
            functions::LARGEST_EVENT
        );
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, why);
    }
    let mut ids = Vec::new();
    for event in events {
        ids.push(event.id.clone());
        if let Err(error) = functions::emit(&environment, &source, event).await {
            tracing::warn!(scope = %environment.scope, %source, "an event is refused: {error}");
            return refuse(StatusCode::INSUFFICIENT_STORAGE, error.to_string());
        }
    }
    let answer = if let [id] = ids.as_slice() { json!({ "id": id }) } else { json!({ "ids": ids }) };
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

/// A source that a release that runs knows.
fn find(environment: &Environment, name: &str) -> Option<ResourceRef> {
    let source: ResourceRef = name.parse().ok()?;
    let desired = environment.desired();
    let known = desired.running.iter().chain(&desired.schedules).any(|revision| {
        environment.revisions.find(revision).is_some_and(|loaded| match source.kind {
            Kind::Topic => loaded.resolved.stack.extras.contains_key(&source),
            Kind::Service => raises(&loaded, &source.name),
            _ => false,
        })
    });
    known.then_some(source)
}

/// The events of a request, in one of the forms of the HTTP binding of `CloudEvents` 1.0.2: structured, a batch, or
/// binary with `ce-` headers; or any body, which becomes the data.
fn read(
    environment: &Environment,
    source: &ResourceRef,
    kind: Option<String>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<CloudEvent>, Error> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = text("content-type");
    let form = content_type.unwrap_or_default();
    if form.starts_with("application/cloudevents-batch+json") {
        let batch: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(body)
            .map_err(|error| Error::failed(format!("this is no list of events: {error}")))?;
        return batch.iter().map(|event| CloudEvent::parse(event.get().as_bytes())).collect();
    }
    if form.starts_with("application/cloudevents+json") {
        return Ok(vec![CloudEvent::parse(body)?]);
    }
    let of = text("ce-source").map_or_else(|| format!("/{}/{source}", environment.scope), str::to_owned);
    let kind = text("ce-type").map(str::to_owned).or(kind);
    let kind = match (kind, source.kind) {
        (Some(kind), _) if !kind.is_empty() => kind,
        (_, Kind::Topic) => MESSAGE.to_owned(),
        _ => return Err(Error::failed("say what happened: add `&type=interview.completed` or a header `ce-type`")),
    };
    // What a form says of itself is not what the data are.
    let content_type = content_type.filter(|kind| *kind != "application/x-www-form-urlencoded");
    let mut event = CloudEvent::new(of, kind, Value::Null).with_data(content_type, body);
    if let Some(id) = text("ce-id").filter(|id| !id.is_empty()) {
        id.clone_into(&mut event.id);
    }
    event.subject = text("ce-subject").map(str::to_owned);
    let fixed = ["id", "source", "type", "subject", "specversion", "time", "dataschema"];
    for (name, value) in headers {
        if let (Some(name), Ok(value)) = (name.as_str().strip_prefix("ce-"), value.to_str())
            && !fixed.contains(&name)
        {
            event.extensions.insert(name.to_owned(), value.into());
        }
    }
    Ok(vec![event])
}

/// `EVENTS_URL` for a service whose events functions wait for.
pub(crate) fn events_url(
    loaded: &Loaded,
    service: &stack::ResourceName,
    address: Option<&Address>,
) -> Option<(String, String)> {
    let source = ResourceRef { kind: Kind::Service, name: service.clone() };
    let address = address.filter(|_| raises(loaded, service))?;
    Some(("EVENTS_URL".to_owned(), address.url(&source)))
}
