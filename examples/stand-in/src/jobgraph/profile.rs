//! Profiles and résumés: uploaded, parsed by a function, asked about.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path},
    routing::{get, put},
};
use serde_json::{Value, json};

use crate::{
    Done, bucket,
    cache::{self, Entry},
    database::Database,
    event,
    server::{self, Trouble},
    variable,
};

const PROFILE: &str = "select json_build_object('id', id, 'email', email, 'skills', skills, 'questions', (select coalesce(json_agg(question order by question), '[]') from questions where user_id = users.id))::text from users where id = $1::bigint";

/// Profiles, from the cache where they are, and uploads of résumés.
pub(crate) async fn serve() -> Done {
    let database = Database::open()?;
    let own = database.clone();
    let find = move |Path(id): Path<u64>| {
        let database = own.clone();
        async move {
            let entry = Entry::of(&format!("user:{id}:profile")).await;
            if let Some(known) = entry.find().await.and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
                return Ok(Json(json!({ "from": "cache", "profile": known })));
            }
            let row =
                database.row(PROFILE, &[&id.to_string()]).await?.ok_or_else(|| Trouble::missing("such person"))?;
            entry.put(&row.to_string()).await;
            Ok::<_, Trouble>(Json(json!({ "from": "database", "profile": row })))
        }
    };
    let upload = |Path(id): Path<u64>, body: Bytes| async move {
        let key = format!("resumes/{id}.txt");
        bucket::put(&variable("RESUMES_BUCKET")?, &key, body.to_vec()).await?;
        Ok::<_, Trouble>(Json(json!({ "key": key })))
    };
    let picture = |Path(id): Path<u64>, body: Bytes| async move {
        let key = format!("pictures/{id}.png");
        bucket::put(&variable("ASSETS_BUCKET")?, &key, body.to_vec()).await?;
        Ok::<_, Trouble>(Json(json!({ "key": key })))
    };
    let routes = Router::new()
        .route("/api/v1/users/{id}", get(find))
        .route("/api/v1/users/{id}/resume", put(upload))
        .route("/api/v1/users/{id}/picture", put(picture))
        .layer(DefaultBodyLimit::max(10 << 20));
    server::serve(routes, Some(database)).await
}

/// The pipeline: an upload was stored, its text is read, its words become skills, and what is missing becomes questions.
pub(crate) async fn parse_resume() -> Done {
    let event = event::read()?;
    let key = event["data"]["key"].as_str().ok_or("the event names no object")?;
    let id = key.trim_start_matches("resumes/").trim_end_matches(".txt");
    let text = bucket::get(&variable("RESUMES_BUCKET")?, key).await?;
    let text = String::from_utf8_lossy(&text).to_lowercase();
    let known = ["rust", "postgresql", "kubernetes", "design", "sales"];
    let skills: Vec<&str> = known.into_iter().filter(|skill| text.contains(skill)).collect();
    let database = Database::open()?;
    let touched = database.run("update users set skills = $2 where id = $1::bigint", &[id, &skills.join(" ")]).await?;
    if touched == 0 {
        return Err(format!("no person {id}"));
    }
    for skill in known.into_iter().filter(|skill| !skills.contains(skill)) {
        // an upload is delivered at least once
        let statement = "insert into questions (user_id, question) values ($1::bigint, $2) on conflict do nothing";
        database.run(statement, &[id, &format!("Have you worked with {skill}?")]).await?;
    }
    cache::forget(&format!("user:{id}:profile")).await;
    println!("parsed {key}: {}", skills.join(" "));
    Ok(())
}
