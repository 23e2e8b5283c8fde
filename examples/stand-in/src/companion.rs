//! Job Seeker Companion: applications of job seekers, cached.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::{
    Done,
    cache::{self, Entry},
    database::Database,
    server::{self, Trouble},
};

const KEY: &str = "applications";

/// Answers the phone's requests.
pub(crate) async fn api() -> Done {
    let database = Database::open()?;
    let (reading, writing) = (database.clone(), database.clone());
    let list = move || {
        let database = reading.clone();
        async move {
            let entry = Entry::of(KEY).await;
            if let Some(known) = entry.find().await {
                return Ok::<_, Trouble>(Json(json!({ "from": "cache", "applications": parsed(&known) })));
            }
            let rows = database
                .rows("select json_build_object('id', id, 'company', company, 'state', state)::text from applications order by id", &[])
                .await?;
            let rows = Value::Array(rows);
            entry.put(&rows.to_string()).await;
            Ok(Json(json!({ "from": "database", "applications": rows })))
        }
    };
    let add = move |Json(application): Json<Value>| {
        let database = writing.clone();
        async move {
            let company = application["company"].as_str().ok_or_else(|| Trouble::bad("name the company"))?;
            database.run("insert into applications (company) values ($1)", &[company]).await?;
            cache::forget(KEY).await;
            Ok::<_, Trouble>(Json(json!({ "added": company })))
        }
    };
    server::serve(Router::new().route("/applications", get(list).post(add)), Some(database)).await
}

/// Counts what is open, once a day.
pub(crate) async fn digest() -> Done {
    let database = Database::open()?;
    let open =
        database.run("insert into digests (open) select count(*) from applications where state = 'open'", &[]).await?;
    println!("wrote {open} digest");
    Ok(())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
