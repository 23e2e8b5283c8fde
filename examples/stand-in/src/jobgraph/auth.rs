//! People sign in.

use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Done,
    database::Database,
    server::{self, Trouble},
    variable,
};

/// Signs people in by their address; the token tells who they are.
pub(crate) async fn serve() -> Done {
    let key = variable("JWT_KEY")?;
    let database = Database::open()?;
    let own = database.clone();
    let sign_in = move |Json(person): Json<Value>| {
        let (database, key) = (own.clone(), key.clone());
        async move {
            let email = person["email"]
                .as_str()
                .filter(|email| email.contains('@'))
                .ok_or_else(|| Trouble::bad("give an email"))?;
            let statement = "insert into users (email) values ($1) on conflict (email) do update set email = excluded.email returning json_build_object('id', id)::text";
            let row = database.row(statement, &[email]).await?.ok_or_else(|| Trouble::missing("row"))?;
            let token = Sha256::digest(format!("{key}:{}", row["id"]).as_bytes());
            let token = token.iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            Ok::<_, Trouble>(Json(json!({ "id": row["id"], "token": token })))
        }
    };
    server::serve(Router::new().route("/api/v1/auth/sign-in", post(sign_in)), Some(database)).await
}
