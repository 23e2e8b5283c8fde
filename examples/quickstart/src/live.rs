//! `/api/live`: a WebSocket that tells the page what is new, whichever instance or job wrote it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::Response,
};
use serde_json::json;
use sqlx::ConnectOptions;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use crate::{
    database, entries,
    output::{Level, say},
    server::App,
    tidy,
};

/// How often the database is asked whether somebody wrote. Asking costs a few microseconds.
const LOOK: Duration = Duration::from_millis(200);

/// Silence after which a sign of life is sent, so that nobody in between takes the connection for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// How long a page may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// News, ready to be sent.
pub(crate) type News = broadcast::Sender<Arc<str>>;

/// `GET /api/live`
pub(crate) async fn live(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(1024).on_upgrade(move |socket| talk(socket, app))
}

async fn talk(mut socket: WebSocket, app: App) {
    // subscribed before the greeting, so that nothing falls between them; `leaving` also counts who is still here
    let mut news = app.news.subscribe();
    let mut leaving = app.leaving.subscribe();
    let hello = json!({ "type": "hello", "who": app.settings.identity, "harbour": app.settings.name }).to_string();
    if socket.send(Message::text(hello)).await.is_err() {
        return;
    }
    loop {
        let message = tokio::select! {
            () = until_leaving(&mut leaving) => {
                let frame = CloseFrame { code: close_code::AWAY, reason: "this instance leaves; another one answers".into() };
                if socket.send(Message::Close(Some(frame))).await.is_ok() {
                    let _ = tokio::time::timeout(GOODBYE, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
                }
                return;
            }
            told = news.recv() => match told {
                Ok(text) => Message::text(&*text),
                // too slow to keep up: the page asks for everything again
                Err(RecvError::Lagged(_)) => Message::text(changed()),
                Err(RecvError::Closed) => return,
            },
            heard = socket.recv() => match heard {
                Some(Ok(_)) => continue,
                _ => return,
            },
            () = tokio::time::sleep(SIGN_OF_LIFE) => Message::Ping("".into()),
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Ends when this instance leaves.
async fn until_leaving(leaving: &mut watch::Receiver<bool>) {
    // the sender lives as long as the application does
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

fn changed() -> String {
    json!({ "type": "changed" }).to_string()
}

/// Watches the database and tells the news, for as long as this program runs.
pub(crate) async fn watch(app: App) {
    loop {
        if let Err(error) = watch_connection(&app).await {
            say(Level::Debug, format_args!("cannot watch the database: {error}"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // whatever was missed in between
        let _ = app.news.send(changed().into());
    }
}

async fn watch_connection(app: &App) -> Result<(), sqlx::Error> {
    // `data_version` changes when any other connection has written, so this one must be of its own and never write
    let options =
        database::options(&app.settings.database).map_err(|reason| sqlx::Error::Configuration(reason.into()))?;
    let mut connection = options.connect().await?;
    let mut last_entry: i64 =
        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM entries").fetch_one(&mut connection).await?;
    let mut last_summary = tidy::latest(&app.pool).await?.map_or(0, |summary| summary.id);
    let mut seen = None;
    loop {
        let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut connection).await?;
        if seen.is_some_and(|seen| seen != version) {
            let mut told = false;
            for entry in entries::newer(&app.pool, last_entry).await? {
                last_entry = entry.id;
                told = true;
                // nobody listening is no failure
                let _ = app.news.send(json!({ "type": "entry", "entry": entry }).to_string().into());
            }
            if let Some(summary) = tidy::latest(&app.pool).await?.filter(|summary| summary.id > last_summary) {
                last_summary = summary.id;
                told = summary.swept == 0;
                let _ = app.news.send(json!({ "type": "summary", "summary": summary }).to_string().into());
            }
            if !told {
                let _ = app.news.send(changed().into());
            }
        }
        seen = Some(version);
        tokio::time::sleep(LOOK).await;
    }
}
