//! What people are told.

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

/// Shows a person's notices; an employer may get in touch.
pub(crate) async fn serve() -> Done {
    let database = Database::open()?;
    let own = database.clone();
    let find = move |Path(user): Path<u64>| {
        let database = own.clone();
        async move {
            let statement =
                "select json_build_object('text', text)::text from notices where user_id = $1::bigint order by id";
            Ok::<_, Trouble>(Json(Value::Array(database.rows(statement, &[&user.to_string()]).await?)))
        }
    };
    let contact = |Json(message): Json<Value>| async move {
        event::publish("EMPLOYER_ACTIONS_TOPIC_URL", &message).await?;
        Ok::<_, Trouble>(Json(json!({ "sent": true })))
    };
    let routes = Router::new().route("/api/v1/notices/{user}", get(find)).route("/api/v1/notices", post(contact));
    server::serve(routes, Some(database)).await
}

/// A new match: the mail that would be sent is a notice here.
pub(crate) async fn send() -> Done {
    let event = event::read()?;
    let (user, job) = (event["data"]["user"].to_string(), event["data"]["job"].to_string());
    let database = Database::open()?;
    // a match is announced at least once, and told once
    let statement = "insert into notices (user_id, text) select $1::bigint, $2 where not exists (select from notices where user_id = $1::bigint and text = $2)";
    database.run(statement, &[&user, &format!("A new match: job {job}")]).await?;
    println!("told {user} of {job}");
    Ok(())
}
