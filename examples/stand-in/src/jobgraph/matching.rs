//! Who fits which job.

use axum::{Json, Router, extract::Path, routing::get};
use serde_json::{Value, json};

use crate::{
    Done,
    cache::Entry,
    database::Database,
    event,
    server::{self, Trouble},
};

/// Shows a person's matches.
pub(crate) async fn serve() -> Done {
    let database = Database::open()?;
    let own = database.clone();
    let find = move |Path(user): Path<u64>| {
        let database = own.clone();
        async move {
            let statement =
                "select json_build_object('job', job_id)::text from matches where user_id = $1::bigint order by job_id";
            let rows = Value::Array(database.rows(statement, &[&user.to_string()]).await?);
            Entry::of(&format!("matches:{user}")).await.put(&rows.to_string()).await;
            Ok::<_, Trouble>(Json(rows))
        }
    };
    server::serve(Router::new().route("/api/v1/matches/{user}", get(find)), Some(database)).await
}

/// All matches in one batch: daily, and when a job was posted. New ones are announced.
pub(crate) async fn calculate() -> Done {
    let database = Database::open()?;
    let statement = "insert into matches (user_id, job_id) select users.id, jobs.id from users join jobs on position(jobs.skill in users.skills) > 0 on conflict do nothing returning json_build_object('user', user_id, 'job', job_id)::text";
    let new = database.rows(statement, &[]).await?;
    for matched in &new {
        event::publish("NEW_MATCHES_TOPIC_URL", matched).await?;
    }
    println!("{}", json!({ "new": new.len() }));
    Ok(())
}
