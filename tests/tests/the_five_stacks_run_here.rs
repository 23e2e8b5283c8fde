//! The five example stacks on this machine, with what Debian has: each is brought up, used through what it is bound to, run
//! on schedule, deployed again and taken back.

use std::time::Duration;

use stories::{Story, until};

/// Long enough for a server to be made and a function to be started on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Brings it up, and expects it to answer.
fn up(name: &str) -> Story {
    let story = Story::example(name);
    story.slipway(&["up", "--once"]).expect(0);
    story
}

/// A second release, with a changed file, and the way back to the first. What was stored stays.
fn again_and_back(story: &Story, changed: &str) {
    let release = || story.status()["release"]["release"].as_str().map(str::to_owned).expect("a release");
    let first = release();
    let text = story.read(changed);
    story.write(changed, &format!("{text}\n"));
    story.slipway(&["deploy", "--yes"]).expect(0);
    assert_ne!(release(), first);
    story.slipway(&["rollback", "--yes"]).expect(0);
    assert_eq!(release(), first);
}

#[test]
fn jobgraph_from_a_resume_to_a_match() {
    let story = up("jobgraph");
    let api = "api.jobgraph.com";
    let person = story.json("POST", api, "/api/v1/auth/sign-in", r#"{"email":"joan@example.org"}"#);
    let id = person["id"].as_i64().expect("an id");

    // proves S1.19: upload, bucket, event, function, text, database, questions
    story.json("PUT", api, &format!("/api/v1/users/{id}/resume"), "Ten years of Rust and PostgreSQL.");
    let profile = until("the résumé is parsed", PATIENCE, || {
        let found = story.json("GET", api, &format!("/api/v1/users/{id}"), "");
        found["profile"]["skills"].as_str().is_some_and(|skills| !skills.is_empty()).then_some(found["profile"].clone())
    });
    assert_eq!(profile["skills"], "rust postgresql");
    assert_eq!(profile["questions"].as_array().map(Vec::len), Some(3), "{profile}");
    // proves S1.16 T7: one upload is one run
    let runs = story.slipway(&["runs", "resume-parser", "--json"]).expect(0).json();
    assert_eq!(runs.as_array().or_else(|| runs["runs"].as_array()).map(Vec::len), Some(1), "{runs}");

    // proves S1.24: a job is posted, matches are found, people are told
    story.json("POST", api, "/api/v1/jobs", r#"{"title":"Systems","skill":"rust","company":"Harbour"}"#);
    let notices = until("the match is told", PATIENCE, || {
        let notices = story.json("GET", api, &format!("/api/v1/notices/{id}"), "");
        notices.as_array().filter(|notices| notices.len() == 2).cloned()
    });
    assert!(notices[0]["text"].as_str().expect("a text").contains("new match"), "{notices:?}");
    assert_eq!(story.json("GET", api, &format!("/api/v1/matches/{id}"), "").as_array().map(Vec::len), Some(2));

    // proves S1.3 S1.23
    let interview =
        story.json("POST", api, "/api/v1/interviews", &format!(r#"{{"user":{id},"answer":"It depends."}}"#));
    until("the interview is scored", PATIENCE, || {
        let found = story.json("GET", api, &format!("/api/v1/interviews/{}", interview["id"]), "");
        found["score"].as_i64().filter(|score| *score == 11)
    });

    // proves S1.4 S1.5: one entry, two versions, companies with the job service
    assert_eq!(story.json("GET", api, "/api/v2/jobs", "")["count"], 2);
    assert_eq!(story.json("GET", api, "/api/v1/companies", "")[0]["jobs"], 2);
    // proves S1.14 S1.36: assets through the edge
    story.json("PUT", api, &format!("/api/v1/users/{id}/picture"), "a picture");
    assert_eq!(
        story.ask("GET", "assets.jobgraph.com", &format!("/pictures/{id}.png"), ""),
        (200, "a picture".to_owned())
    );
    assert_eq!(story.ask("GET", "app.jobgraph.com", "/some/page", "").0, 200);
    assert_eq!(story.ask("GET", "www.jobgraph.com", "/", "").0, 308);

    // by schedule; here at once
    story.slipway(&["trigger", "match-calculator", "--wait"]).expect(0);
    again_and_back(&story, "web/index.html");
    assert_eq!(story.json("GET", api, &format!("/api/v1/matches/{id}"), "").as_array().map(Vec::len), Some(2));
}

#[test]
fn companion_answers_from_its_cache() {
    let story = up("companion");
    let api = "api.jobseeker.example";
    // proves S2.2 S2.5
    assert_eq!(story.json("GET", api, "/applications", "")["from"], "database");
    let second = story.json("GET", api, "/applications", "");
    assert_eq!((&second["from"], second["applications"].as_array().map(Vec::len)), (&"cache".into(), Some(2)));
    story.json("POST", api, "/applications", r#"{"company":"Quay"}"#);
    assert_eq!(story.json("GET", api, "/applications", "")["from"], "database");
    story.slipway(&["trigger", "digest", "--wait"]).expect(0);
    again_and_back(&story, "seed.sql");
    assert_eq!(story.json("GET", api, "/applications", "")["applications"].as_array().map(Vec::len), Some(3));
}

#[test]
fn jobsprint_works_on_messages() {
    let story = up("jobsprint");
    // proves S3.2 S3.4: seeded, and the pages reach the API
    let (status, page) = story.ask("GET", "jobsprint.io", "/", "");
    assert!(status == 200 && page.contains("2 jobs"), "{status}: {page}");
    let job = story.json("POST", "api.jobsprint.io", "/jobs", r#"{"title":"Lighthouse"}"#);
    // proves S3.7: over RabbitMQ to two services
    until("both services worked on it", PATIENCE, || {
        let jobs = story.json("GET", "api.jobsprint.io", "/jobs", "");
        let jobs = jobs["jobs"].as_array()?.clone();
        jobs.into_iter().find(|found| found["id"] == job["id"] && found["score"] == 10 && found["sent"] == true)
    });
    // proves S3.3
    assert_eq!(story.ask("POST", "n8n.jobsprint.io", "/webhook/x", "{}").0, 200);
    story.slipway(&["trigger", "match", "--wait"]).expect(0);
    again_and_back(&story, "seed.sql");
    assert!(story.ask("GET", "jobsprint.io", "/", "").1.contains("3 jobs"));
}

#[test]
fn jamdung_uploads_and_tracks() {
    let story = up("jamdung");
    let api = "api.jamdungjobs.com";
    assert_eq!(story.json("GET", api, "/jobs", "").as_array().map(Vec::len), Some(2));
    // proves S0.6
    let key = story.json("POST", api, "/uploads", "a letter")["key"].as_str().expect("a key").to_owned();
    assert!(key.starts_with("uploads/"), "{key}");
    assert_eq!(story.ask("GET", api, &format!("/{key}"), ""), (200, "a letter".to_owned()));
    // proves S0.20
    assert_eq!(story.ask("POST", api, "/searches", r#"{"query":"cook"}"#).0, 202);
    until("the search is kept", PATIENCE, || {
        let events = story.json("GET", api, "/events", "");
        events.as_array().filter(|events| events.len() == 1 && events[0]["data"]["source"] == "development").map(|_| ())
    });
    // proves S0.3 S0.21
    assert_eq!(story.ask("GET", "jamdungjobs.com", "/a/page/of/the/app", "").0, 200);
    assert_eq!(story.ask("GET", "jamdungjob.io", "/", "").0, 308);
    again_and_back(&story, "api/app.mjs");
    assert_eq!(story.ask("GET", api, &format!("/{key}"), "").0, 200);
}

#[test]
fn roastify_tells_its_health_and_runs_its_job() {
    let story = up("roastify");
    let site = "roastify.online";
    // proves S4.4
    let report = story.slipway(&["health"]).expect(0).json();
    assert_eq!(report["status"], "healthy", "{report}");
    let roast = story.json("POST", site, "/api/roasts", r#"{"text":"Well done, nearly."}"#);
    assert_eq!(story.json("GET", site, "/api/roasts", "").as_array().map(Vec::len), Some(2));
    // proves S4.12: stricter where people sign in
    let answers: Vec<u16> = (0..12).map(|_| story.ask("POST", site, "/api/auth", "{}").0).collect();
    assert!(answers.contains(&429) && answers[0] == 200, "{answers:?}");
    story.slipway(&["trigger", "warm", "--wait"]).expect(0);
    again_and_back(&story, "backend/server.mjs");
    assert_eq!(story.json("GET", site, "/api/roasts", "")[1]["id"], roast["id"]);
}
