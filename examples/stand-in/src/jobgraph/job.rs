//! Jobs of companies.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::{
    Done,
    cache::Entry,
    database::Database,
    event,
    server::{self, Trouble},
};

const LIST: &str = "select json_build_object('id', id, 'title', title, 'skill', skill, 'company', company)::text from jobs order by id";

/// Posts and lists jobs, in two versions of the API.
pub(crate) async fn serve() -> Done {
    let database = Database::open()?;
    let (first, second, writing) = (database.clone(), database.clone(), database.clone());
    let list = move || {
        let database = first.clone();
        async move { Ok::<_, Trouble>(Json(Value::Array(database.rows(LIST, &[]).await?))) }
    };
    let list_v2 = move || {
        let database = second.clone();
        async move {
            let jobs = database.rows(LIST, &[]).await?;
            Ok::<_, Trouble>(Json(json!({ "count": jobs.len(), "jobs": jobs })))
        }
    };
    let add = move |Json(job): Json<Value>| {
        let database = writing.clone();
        async move {
            let text = |key: &str| {
                job[key].as_str().map(str::to_owned).ok_or_else(|| Trouble::bad("give title, skill and company"))
            };
            let (title, skill, company) = (text("title")?, text("skill")?, text("company")?);
            let statement = "insert into jobs (title, skill, company) values ($1, $2, $3) returning json_build_object('id', id)::text";
            let row =
                database.row(statement, &[&title, &skill, &company]).await?.ok_or_else(|| Trouble::missing("row"))?;
            Entry::of(&format!("job:{}", row["id"])).await.put(&title).await;
            event::publish("JOB_POSTED_TOPIC_URL", &row).await?;
            Ok::<_, Trouble>(Json(row))
        }
    };
    let companies = {
        let database = database.clone();
        move || {
            let database = database.clone();
            async move {
                let statement = "select json_build_object('company', company, 'jobs', count(*))::text from jobs group by company order by company";
                Ok::<_, Trouble>(Json(Value::Array(database.rows(statement, &[]).await?)))
            }
        }
    };
    let routes = Router::new()
        .route("/api/v1/jobs", get(list).post(add))
        .route("/api/v2/jobs", get(list_v2))
        .route("/api/v1/companies", get(companies));
    server::serve(routes, Some(database)).await
}
