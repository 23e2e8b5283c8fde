//! Jobsprint: pages, an API, and two services that work on messages.

use std::time::Duration;

use axum::{
    Json, Router,
    response::Html,
    routing::{any, get, post},
};
use http::Method;
use serde_json::{Value, json};

use crate::{
    Done,
    cache::{self, Entry},
    database::Database,
    fetch::fetch,
    queue,
    server::{self, Trouble},
    variable,
};

/// Pages, which show what the API says.
pub(crate) async fn frontend() -> Done {
    let page = || async {
        let url = format!("{}/jobs", variable("API_URL")?.trim_end_matches('/'));
        let (status, _, body) = fetch(Method::GET, &url, &[], Vec::new()).await?;
        if !status.is_success() {
            return Err(Trouble::from(format!("the API answered {status}")));
        }
        let jobs: Value =
            serde_json::from_slice(&body).map_err(|error| format!("the API answered no JSON: {error}"))?;
        let count = jobs["jobs"].as_array().map_or(0, Vec::len);
        Ok(Html(format!("<!doctype html><title>Jobsprint</title><h1>{count} jobs</h1>")))
    };
    server::serve(Router::new().route("/", get(page)), None).await
}

/// Jobs, stored and announced.
pub(crate) async fn api() -> Done {
    let database = Database::open()?;
    let (reading, writing) = (database.clone(), database.clone());
    let list = move || {
        let database = reading.clone();
        async move {
            let entry = Entry::of("jobs").await;
            let known = entry.find().await.and_then(|text| serde_json::from_str(&text).ok());
            let rows = if let Some(rows) = known {
                rows
            } else {
                let statement = "select json_build_object('id', id, 'title', title, 'score', score, 'sent', sent)::text from jobs order by id";
                let rows = Value::Array(database.rows(statement, &[]).await?);
                entry.put(&rows.to_string()).await;
                rows
            };
            Ok::<_, Trouble>(Json(json!({ "jobs": rows, "release": server::release() })))
        }
    };
    let add = move |Json(job): Json<Value>| {
        let database = writing.clone();
        async move {
            let title = job["title"].as_str().ok_or_else(|| Trouble::bad("give the job a title"))?;
            let statement = "insert into jobs (title) values ($1) returning json_build_object('id', id)::text";
            let row = database.row(statement, &[title]).await?.ok_or_else(|| Trouble::missing("row"))?;
            let id = row["id"].to_string();
            queue::publish("score", &id).await?;
            queue::publish("send", &id).await?;
            cache::forget("jobs").await;
            Ok::<_, Trouble>(Json(row))
        }
    };
    server::serve(Router::new().route("/jobs", get(list).post(add)), Some(database)).await
}

/// Works on messages beside answering for its health; a broker that is away is waited for.
async fn working(queue: &'static str, statement: &'static str) -> Done {
    let database = Database::open()?;
    let own = database.clone();
    tokio::spawn(async move {
        loop {
            let ended = queue::consume(queue, |id| {
                let database = own.clone();
                async move {
                    database.run(statement, &[&id]).await?;
                    cache::forget("jobs").await;
                    println!("{queue} {id}");
                    Ok(())
                }
            });
            if let Err(reason) = ended.await {
                eprintln!("{reason}; trying again");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    server::serve(Router::new(), Some(database)).await
}

/// Scores jobs.
pub(crate) async fn ai() -> Done {
    working("score", "update jobs set score = length(title) where id = $1::bigint").await
}

/// Sends jobs to others.
pub(crate) async fn integration() -> Done {
    working("send", "update jobs set sent = true where id = $1::bigint").await
}

/// The workflow engine, where there is no Docker.
pub(crate) async fn n8n() -> Done {
    variable("N8N_BASIC_AUTH_PASSWORD")?;
    let routes = Router::new()
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/webhook/{name}", post(|| async { Json(json!({ "message": "Workflow was started" })) }))
        .fallback(any(|| async { Html("<!doctype html><title>n8n</title>") }));
    server::serve(routes, None).await
}

/// Matches jobs, at night.
pub(crate) async fn matching() -> Done {
    let database = Database::open()?;
    let matched = database.run("update jobs set matched_at = now() where matched_at is null", &[]).await?;
    println!("matched {matched} jobs");
    Ok(())
}
