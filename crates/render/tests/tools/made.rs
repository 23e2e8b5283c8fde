//! What has to be true of what was made of `jamdung`.

use serde_json::{Value, json};

/// Panics with the first thing that is not as the stack says.
pub(crate) fn check(made: &Value) {
    let buckets = made["buckets"].as_object().expect("buckets");
    assert_eq!(buckets.len(), 3);
    for (name, bucket) in buckets {
        assert_eq!(*bucket, json!({ "encrypted": "AES256", "versions": "Enabled", "closed": true }), "{name}");
    }
    let cluster = json!({
        "name": "jamdung-prod-cluster", "encrypted": true, "days": 30, "zones": 2, "ways_out": [], "public": [false, false],
    });
    assert_eq!(made["clusters"], json!([cluster]), "the database is encrypted, kept and in subnets without a way out");
    assert_eq!(
        made["logs"],
        json!({
            "/aws/apigateway/jamdung-production": 30,
            "/aws/lambda/jamdung-production-analytics": 30,
            "/aws/lambda/jamdung-production-api": 30,
            "/aws/vpc/jamdung-production": 90,
        })
    );
    functions(&made["functions"]);
    for (name, statements) in made["roles"].as_object().expect("roles") {
        least(name, statements);
    }
    let secrets = made["secrets"].as_object().expect("secrets");
    for (name, versions) in [("database/main", 1), ("GOOGLE_API_KEY", 0), ("JWT_SECRET", 0)] {
        let secret = &secrets[&format!("jamdung-production/{name}")];
        // those of the application have no value before somebody gives them one
        assert_eq!(secret["versions"], versions, "{name}");
        assert_eq!(secret["tags"]["Environment"], "production", "{name} has the tags of everything");
    }
    for group in made["groups"].as_array().expect("security groups") {
        assert_eq!(group["open"], json!([]), "{} lets addresses in", group["name"]);
    }
}

/// Functions have a role each, live in private subnets, and know where secrets are but none of them.
fn functions(functions: &Value) {
    let functions = functions.as_array().expect("functions");
    assert_eq!(functions.len(), 2);
    for function in functions {
        let name = function["name"].as_str().expect("a name");
        let role = function["role"].as_str().expect("a role");
        assert!(role.ends_with(name.trim_start_matches("jamdung-production")), "{name} has the role {role}");
        assert_eq!(function["groups"], 1, "{name}");
        let ways = function["ways_out"].as_array().expect("ways");
        let private = ways.iter().all(|way| way.as_str().is_some_and(|way| way.starts_with("nat-")));
        assert!(!ways.is_empty() && private, "{name} goes out by {ways:?}");
        let variables = function["variables"].to_string();
        assert!(!variables.contains("postgres://"), "{name} has a secret among its variables: {variables}");
        assert!(variables.contains("secret:jamdung-production/database/main"), "{name} does not know its database");
    }
}

/// No statement allows everything, or something everywhere; a program writes to its own log group and no other.
fn least(role: &str, statements: &Value) {
    for statement in statements.as_array().expect("statements") {
        let texts = |key: &str| -> Vec<String> {
            let list = statement[key].as_array().expect("a list");
            list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
        };
        let (actions, resources) = (texts("actions"), texts("resources"));
        assert_eq!(statement["effect"], "Allow", "{role}");
        assert!(actions.iter().all(|action| !action.ends_with('*')), "{role} may {actions:?}");
        assert!(resources.iter().all(|resource| resource != "*"), "{role} may {actions:?} everywhere");
        let mut each = resources.clone();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), resources.len(), "{role} may {actions:?} twice of {resources:?}");
        if actions.iter().any(|action| action == "logs:PutLogEvents") {
            let own = role.replace("service-", "").replace("function-", "").replace("-flow-logs", "");
            assert!(resources.iter().all(|resource| resource.ends_with(&format!("/{own}:*"))), "{role}: {resources:?}");
        }
    }
}
