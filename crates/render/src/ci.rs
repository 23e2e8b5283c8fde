//! GitHub Actions: one workflow per environment that is not this machine, and a check of every change.
//!
//! Actions other than GitHub's own are not used, so there is none to pin by hand: credentials come by OpenID Connect,
//! and what an input says reaches a shell only through variables.

use serde_json::{Map, Value, json};
use stack::{DataClass, Resolved, TargetKind};

use crate::{File, Input, binding, program, yaml};

const CHECKOUT: &str = "actions/checkout@v5";

pub(crate) fn render(input: &Input) -> Vec<File> {
    let remote = input.all.iter().filter(|resolved| resolved.environment.target != TargetKind::Local);
    let mut files: Vec<File> = remote.map(deploy).collect();
    files.push(check(input));
    files.push(policy());
    files
}

/// What the workflow scanner may let pass, and why.
fn policy() -> File {
    let whole = json!({ "rules": { "unpinned-uses": { "config": { "policies": {
        "# GitHub's own actions follow their major: they run with the same trust as the runner itself": null,
        "actions/*": "ref-pin",
        "*": "hash-pin",
    } } } } });
    File::new(".github/zizmor.yml", "Read by zizmor, which looks for holes in workflows.", &yaml::document(&whole))
}

fn checkout() -> Value {
    json!({ "name": "Take the source", "uses": CHECKOUT, "with": { "# tags say the version": null, "fetch-depth": 0, "persist-credentials": false } })
}

/// The program itself, by digest: an address and a digest are set once for the repository.
fn install() -> Value {
    json!({
        "name": "Install slipway",
        "env": { "URL": "${{ vars.SLIPWAY_URL }}", "SHA256": "${{ vars.SLIPWAY_SHA256 }}" },
        "run": "curl --fail --silent --show-error --location --retry 3 --output \"$RUNNER_TEMP/slipway\" \"$URL\"\n\
                echo \"$SHA256  $RUNNER_TEMP/slipway\" | sha256sum --check --strict\n\
                chmod +x \"$RUNNER_TEMP/slipway\"\n\
                echo \"$RUNNER_TEMP\" >> \"$GITHUB_PATH\"\n",
    })
}

fn check(input: &Input) -> File {
    let whole = json!({
        "name": "Check",
        "on": { "pull_request": {}, "push": { "branches": ["main"] } },
        "permissions": {},
        "concurrency": { "group": "check-${{ github.ref }}", "cancel-in-progress": true },
        "jobs": { "check": {
            "name": "The stack and its build",
            "runs-on": "ubuntu-24.04",
            "timeout-minutes": 30,
            "permissions": { "contents": "read" },
            "steps": [
                checkout(),
                install(),
                { "name": "Read the stack file", "run": "slipway check --strict" },
                { "name": "Build a release", "run": format!("slipway build --env {}", input.resolved.name) },
            ],
        } },
    });
    File::new(
        ".github/workflows/check.yml",
        "Every change is read and built before it is merged.",
        &yaml::document(&whole),
    )
}

/// Whether a release goes there by a tag and a person's yes, or by a push.
fn guarded(resolved: &Resolved) -> bool {
    resolved.environment.approve || resolved.environment.data == DataClass::Real
}

fn reach(resolved: &Resolved) -> Vec<Value> {
    match resolved.environment.target {
        TargetKind::Hosts | TargetKind::Local => vec![json!({
            "name": "Let in by the hosts",
            "env": { "KEY": "${{ secrets.DEPLOY_SSH_KEY }}", "KNOWN_HOSTS": "${{ vars.DEPLOY_KNOWN_HOSTS }}" },
            "run": "install -d -m 700 ~/.ssh\n\
                    printf '%s\\n' \"$KNOWN_HOSTS\" > ~/.ssh/known_hosts\n\
                    eval \"$(ssh-agent -s)\"\n\
                    ssh-add - <<< \"$KEY\"\n\
                    echo \"SSH_AUTH_SOCK=$SSH_AUTH_SOCK\" >> \"$GITHUB_ENV\"\n",
        })],
        TargetKind::Aws => vec![identity()],
        TargetKind::Kubernetes => vec![
            identity(),
            json!({
                "name": "Reach the cluster",
                "env": { "CLUSTER": "${{ vars.CLUSTER }}" },
                "run": "aws eks update-kubeconfig --name \"$CLUSTER\"\n",
            }),
        ],
    }
}

/// A role for an hour, instead of keys for ever.
fn identity() -> Value {
    json!({
        "name": "Take the role of this environment",
        "env": { "ROLE": "${{ vars.AWS_ROLE_ARN }}", "REGION": "${{ vars.AWS_REGION }}" },
        "run": "curl --fail --silent --show-error --header \"Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN\" \\\n  \
                \"$ACTIONS_ID_TOKEN_REQUEST_URL&audience=sts.amazonaws.com\" | jq --raw-output .value > \"$RUNNER_TEMP/token\"\n\
                {\n  echo \"AWS_ROLE_ARN=$ROLE\"\n  echo \"AWS_WEB_IDENTITY_TOKEN_FILE=$RUNNER_TEMP/token\"\n  echo \"AWS_REGION=$REGION\"\n} >> \"$GITHUB_ENV\"\n",
    })
}

/// Images are built by `slipway deploy` where they are needed; it pushes them with these rights.
fn store() -> Value {
    json!({
        "name": "Sign in to the image store",
        "env": { "TOKEN": "${{ github.token }}", "ACTOR": "${{ github.actor }}" },
        "run": "echo \"$TOKEN\" | docker login ghcr.io --username \"$ACTOR\" --password-stdin\n",
    })
}

fn deploy(resolved: &Resolved) -> File {
    let name = resolved.name.as_str();
    let guarded = guarded(resolved);
    let on = if guarded {
        json!({ "push": { "tags": ["v*"] }, "workflow_dispatch": {} })
    } else {
        json!({ "push": { "branches": ["main", "develop"] }, "workflow_dispatch": {} })
    };
    let url = resolved
        .stack
        .routes
        .iter()
        .find(|route| !route.host.contains('*'))
        .map(|route| format!("https://{}", route.host));
    let cloud = matches!(resolved.environment.target, TargetKind::Aws | TargetKind::Kubernetes);
    let env: Map<String, Value> = outside(resolved)
        .into_iter()
        .map(|(name, secret)| {
            let from = if secret { "secrets" } else { "vars" };
            (name.clone(), format!("${{{{ {from}.{name} }}}}").into())
        })
        .collect();
    let mut steps = vec![checkout(), install()];
    steps.extend(reach(resolved));
    if resolved.environment.target == TargetKind::Kubernetes {
        steps.push(store());
    }
    steps.push(json!({
        "name": "Deploy",
        "env": (!env.is_empty()).then_some(env),
        "# builds, ships, migrates, switches, watches; goes back by itself when it is worse than before": null,
        "run": format!("slipway deploy --env {name} --yes\n"),
    }));
    let probe = url.as_ref().map(|url| {
        json!({
            "name": "Look from outside",
            "env": { "URL": url },
            "run": "curl --fail --silent --show-error --output /dev/null --retry 5 --retry-all-errors \"$URL\"\n",
        })
    });
    steps.extend(probe);
    steps.push(json!({ "name": "Say what runs", "if": "always()", "run": format!("slipway status --env {name}\n") }));
    let whole = json!({
        "name": format!("Deploy {name}"),
        "on": on,
        "permissions": {},
        "# one deploy at a time, and none is cut off in the middle": null,
        "concurrency": { "group": format!("deploy-{name}"), "cancel-in-progress": false },
        "jobs": { "deploy": {
            "name": format!("Deploy {} to {name}", resolved.stack.app),
            "runs-on": "ubuntu-24.04",
            "timeout-minutes": 60,
            "# who must say yes is set in the environment of the repository": guarded.then_some(Value::Null),
            "environment": { "name": name, "url": url },
            "permissions": {
                "contents": "read",
                "# a token of this run, for the role": cloud.then_some(Value::Null),
                "id-token": cloud.then_some("write"),
                "packages": (resolved.environment.target == TargetKind::Kubernetes).then_some("write"),
            },
            "steps": steps,
        } },
    });
    let about = format!(
        "{} goes to {name} on {}.",
        resolved.stack.app,
        if guarded { "a tag v*, after a person's yes" } else { "every push to main or develop" }
    );
    File::new(format!(".github/workflows/deploy-{name}.yml"), &about, &yaml::document(&whole))
}

/// Variables that must be given, and whether each is a secret.
fn outside(resolved: &Resolved) -> Vec<(String, bool)> {
    let stack = &resolved.stack;
    let _ = program::all(stack);
    let wanted = stack.variables.iter().filter(|(name, variable)| {
        binding::of_variable(name, variable)
            .is_some_and(|value| value.iter().any(|part| matches!(part, binding::Part::Outside(_))))
    });
    wanted.map(|(name, variable)| (name.clone(), variable.secret)).collect()
}
