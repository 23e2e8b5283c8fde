//! Interviews: answered, scored by a function, cleaned up.

use axum::{
    Json, Router,
    extract::Path,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    Done,
    database::Database,
    event,
    server::{self, Trouble},
};

/// Takes answers and shows scores.
pub(crate) async fn serve() -> Done {
    let database = Database::open()?;
    let (reading, writing) = (database.clone(), database.clone());
    let find = move |Path(id): Path<u64>| {
        let database = reading.clone();
        async move {
            let statement = "select json_build_object('id', id, 'answer', answer, 'score', score)::text from interviews where id = $1::bigint";
            let row = database.row(statement, &[&id.to_string()]).await?;
            Ok::<_, Trouble>(Json(row.ok_or_else(|| Trouble::missing("such interview"))?))
        }
    };
    let answer = move |Json(interview): Json<Value>| {
        let database = writing.clone();
        async move {
            let answer = interview["answer"].as_str().ok_or_else(|| Trouble::bad("give an answer"))?;
            let user = interview["user"].to_string();
            let statement = "insert into interviews (user_id, answer) values ($1::bigint, $2) returning json_build_object('id', id)::text";
            let row = database.row(statement, &[&user, answer]).await?.ok_or_else(|| Trouble::missing("row"))?;
            event::publish("INTERVIEW_COMPLETED_TOPIC_URL", &row).await?;
            Ok::<_, Trouble>(Json(row))
        }
    };
    let routes = Router::new().route("/api/v1/interviews", post(answer)).route("/api/v1/interviews/{id}", get(find));
    server::serve(routes, Some(database)).await
}

/// An interview was completed: a longer answer is a better one, up to a hundred.
pub(crate) async fn score() -> Done {
    let event = event::read()?;
    let id = event["data"]["id"].to_string();
    let database = Database::open()?;
    let scored =
        database.run("update interviews set score = least(100, length(answer)) where id = $1::bigint", &[&id]).await?;
    println!("scored {scored}: {}", json!({ "id": id }));
    Ok(())
}

/// Removes what is older than a year.
pub(crate) async fn clean_up() -> Done {
    let database = Database::open()?;
    let gone = database.run("delete from interviews where at < now() - interval '1 year'", &[]).await?;
    println!("removed {gone} interviews");
    Ok(())
}
