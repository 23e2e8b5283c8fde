//! Where values come from, in which order they win, and what is said when they do not keep the contract.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{Arc, Barrier},
};

use secrets::sources::{Found, Origin, Sources, gather, parse_set, preview};
use stack::{
    AppName, DataClass, Environment, EnvironmentName, Problems, Resolved, Rollout, Stack, TargetKind, Variable,
    VariableForm,
};

fn variable() -> Variable {
    Variable {
        secret: false,
        form: VariableForm::Text,
        default: None,
        optional: false,
        min_length: None,
        max_length: None,
        rotate: None,
        about: None,
    }
}

fn secret(min_length: usize) -> Variable {
    Variable { secret: true, min_length: Some(min_length), ..variable() }
}

fn resolved(name: &str, target: TargetKind, data: DataClass, variables: &[(&str, Variable)]) -> Resolved {
    let environment = Environment {
        target,
        hosts: Vec::new(),
        listen: Vec::new(),
        data,
        approve: false,
        rollout: Rollout::default(),
        max_fail: 0,
        health: None,
        trusted_proxies: Vec::new(),
        overlays: Vec::new(),
    };
    let stack = Stack {
        app: AppName::new("jobsprint").unwrap(),
        version: None,
        services: BTreeMap::new(),
        sites: BTreeMap::new(),
        functions: BTreeMap::new(),
        jobs: BTreeMap::new(),
        databases: BTreeMap::new(),
        caches: BTreeMap::new(),
        queues: BTreeMap::new(),
        buckets: BTreeMap::new(),
        extras: BTreeMap::new(),
        routes: Vec::new(),
        variables: variables.iter().map(|(name, variable)| ((*name).to_owned(), variable.clone())).collect(),
        alarms: BTreeMap::new(),
        environments: BTreeMap::new(),
    };
    Resolved { stack, name: EnvironmentName::new(name).unwrap(), environment }
}

fn production(variables: &[(&str, Variable)]) -> Resolved {
    resolved("production", TargetKind::Local, DataClass::Real, variables)
}

fn development(variables: &[(&str, Variable)]) -> Resolved {
    resolved("dev", TargetKind::Local, DataClass::Seed, variables)
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A project with these files, each 0600.
fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
    }
    let sources = Sources { project: folder.path().to_owned(), ..Sources::default() };
    (folder, sources)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn messages(problems: &Problems) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.severity, problem.message)).collect()
}

#[test]
fn later_sources_win() {
    let names = ["A_DEFAULT", "B_ENV", "C_ENVIRONMENT", "D_OPTION", "E_PROCESS", "F_SET"];
    let with_default = Variable { default: Some("default".into()), ..variable() };
    let resolved = production(&names.map(|name| (name, with_default.clone())));
    let lines = |from: usize, value: &str| {
        names[from..].iter().fold(String::new(), |text, name| text + name + "=" + value + "\n")
    };
    let (folder, mut sources) = project(&[
        (".env", &lines(1, "env")),
        (".env.production", &lines(2, "environment")),
        ("other.env", &lines(3, "option")),
        (".env.staging", &lines(0, "of another environment")),
    ]);
    sources.files = vec![folder.path().join("other.env")];
    sources.process = map(&[("E_PROCESS", "process"), ("F_SET", "process"), ("HOME", "/root")]);
    sources.set = map(&[("F_SET", "set")]);

    let Found { values, origins, warnings, .. } = preview(&resolved, &sources).unwrap();
    let expected = ["default", "env", "environment", "option", "process", "set"];
    assert_eq!(values.all.into_values().collect::<Vec<_>>(), expected);
    let option = folder.path().join("other.env").display().to_string();
    let file = |name: &str| Origin::File(name.into());
    let expected =
        [Origin::Default, file(".env"), file(".env.production"), file(&option), Origin::Process, Origin::Set];
    assert_eq!(origins.into_values().collect::<Vec<_>>(), expected);
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn all_problems_of_files_and_contract_come_in_one_run() {
    // proves S4.P6
    let resolved = production(&[
        ("API_KEY", secret(8)),
        ("JWT_SECRET", secret(64)),
        ("MAIL_FROM", Variable { form: VariableForm::Email, about: Some("sender of mail".into()), ..variable() }),
        ("PORT", Variable { form: VariableForm::Port, ..variable() }),
    ]);
    let (_folder, mut sources) = project(&[
        (".env", "JWT_SECERT=x\nJWT_SECRET=hunter2hunter\nPORT=\"80\nnonsense\n"),
        (".env.production", "API_KEY=pa$word-hunter2\n"),
    ]);
    sources.files = vec!["missing.env".into()];
    sources.set = map(&[("PROT", "1")]);
    let problems = preview(&resolved, &sources).unwrap_err();
    assert_eq!(
        messages(&problems),
        [
            "error: `.env` line 3: the double quote before the value of `PORT` is never closed",
            "error: `.env` line 4: this is not `NAME=value`",
            "warning: `.env` sets `JWT_SECERT`, which the stack does not declare",
            "error: `.env.production` line 1: the value of `API_KEY` has a `$` followed by a name that is set nowhere",
            "error: cannot read `missing.env`: No such file or directory (os error 2)",
            "error: `--set PROT` names a variable that the stack does not declare",
            "error: variable `JWT_SECRET` is 13 characters in environment `production`, expected at least 64",
            "error: variable `MAIL_FROM` is missing in environment `production` (sender of mail)",
        ]
    );
    let shown = format!("{problems} {problems:?}");
    assert!(!shown.contains("hunter2") && shown.contains("did you mean `PORT`?"), "{shown}");
    assert!(shown.contains("makes a value that is long enough (it comes from `.env`)"), "{shown}");
}

#[test]
fn a_missing_secret_of_real_data_is_never_made_up() {
    // proves S4.P6
    for (target, data) in [
        (TargetKind::Local, DataClass::Real),
        (TargetKind::Hosts, DataClass::Seed),
        (TargetKind::Local, DataClass::Anonymised),
    ] {
        let (folder, sources) = project(&[]);
        let problems = gather(&resolved("x", target, data, &[("JWT_SECRET", secret(64))]), &sources).unwrap_err();
        assert_eq!(messages(&problems), ["error: variable `JWT_SECRET` is missing in environment `x`"]);
        assert!(!folder.path().join(".slipway").exists());
    }
}

#[test]
fn missing_secrets_of_seed_data_are_made_up_once_and_kept() {
    // proves S3.4
    let resolved = development(&[
        ("JWT_SECRET", secret(0)),
        ("LONG", secret(64)),
        ("SHORT", Variable { max_length: Some(20), ..secret(10) }),
        ("OPTIONAL", Variable { optional: true, ..secret(10) }),
        ("GIVEN", secret(3)),
    ]);
    let (folder, sources) = project(&[(".env", "GIVEN=abc\nLONG=\n")]);
    let kept = folder.path().join(".slipway/dev.env");

    preview(&resolved, &sources).unwrap();
    assert!(!kept.exists(), "a look changes nothing");
    let first = gather(&resolved, &sources).unwrap();
    assert_eq!(first.made_up, ["JWT_SECRET", "LONG", "SHORT"]);
    // 32 random bytes in base64 are 43 characters without padding
    let lengths = ["JWT_SECRET", "LONG", "SHORT", "GIVEN"].map(|name| first.values.all[name].len());
    assert_eq!(lengths, [43, 64, 20, 3]);
    assert_eq!(first.origins["LONG"], Origin::MadeUp);
    assert!(!first.values.all.contains_key("OPTIONAL"));
    assert_eq!(first.values.secrets, ["GIVEN", "JWT_SECRET", "LONG", "SHORT"]);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(folder.path().join(".slipway/.gitignore")).unwrap(), "*\n");

    let second = gather(&resolved, &sources).unwrap();
    assert!(second.made_up.is_empty());
    assert_eq!(second.values, first.values);
    assert_eq!(preview(&resolved, &sources).unwrap().values, first.values);

    // a contract that asks for more has only that value made anew
    let resolved = development(&[("JWT_SECRET", secret(100)), ("LONG", secret(64))]);
    let third = gather(&resolved, &sources).unwrap();
    assert_eq!(third.made_up, ["JWT_SECRET"]);
    assert_eq!(third.values.all["JWT_SECRET"].len(), 100);
    assert_eq!(third.values.all["LONG"], first.values.all["LONG"]);

    // and a person's own value wins
    let own = Sources { process: map(&[("LONG", &"p".repeat(64))]), ..sources };
    assert_eq!(gather(&resolved, &own).unwrap().values.all["LONG"], "p".repeat(64));
}

#[test]
fn runs_at_the_same_time_make_up_the_same_secrets() {
    let resolved = Arc::new(development(&[("A", secret(40)), ("B", secret(40))]));
    let (_folder, sources) = project(&[]);
    let barrier = Arc::new(Barrier::new(8));
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let (resolved, sources, barrier) = (resolved.clone(), sources.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                gather(&resolved, &sources).unwrap().values
            })
        })
        .collect();
    let values: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();
    assert!(values.iter().all(|one| *one == values[0]));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let resolved = development(&[("A", secret(40))]);
    let (folder, sources) = project(&[]);
    std::os::unix::fs::symlink("nowhere", folder.path().join(".slipway")).unwrap();
    let problems = gather(&resolved, &sources).unwrap_err();
    let shown = problems.to_string();
    assert!(shown.contains("cannot keep made-up secrets in") && shown.contains("or set A in `.env`"), "{shown}");
    drop(folder);
}

#[test]
fn an_empty_value_of_the_process_does_not_hide_a_real_one() {
    let resolved = production(&[("KEY", secret(3)), ("NOTE", Variable { default: Some("d".into()), ..variable() })]);
    let (_folder, mut sources) = project(&[(".env", "KEY=real\nNOTE=n\n")]);
    sources.process = map(&[("KEY", ""), ("NOTE", "")]);
    let values = preview(&resolved, &sources).unwrap().values.all;
    assert_eq!(values, map(&[("KEY", "real"), ("NOTE", "")]));
}

#[test]
fn secrets_that_others_can_see_are_warned_of() {
    // proves S4.12
    let resolved = production(&[("KEY", secret(3)), ("LEVEL", variable())]);
    let (folder, mut sources) = project(&[(".env", "KEY=real\n"), (".env.production", "LEVEL=info\n")]);
    set_mode(folder.path(), 0o755);
    let warnings = |sources: &Sources| messages(&preview(&resolved, sources).unwrap().warnings);
    assert!(warnings(&sources).is_empty());

    set_mode(&folder.path().join(".env"), 0o644);
    set_mode(&folder.path().join(".env.production"), 0o644);
    let readable = "warning: `.env` holds secrets and every user of this machine can read it (mode 644)";
    assert_eq!(warnings(&sources), [readable]);
    set_mode(folder.path(), 0o700);
    assert!(warnings(&sources).is_empty(), "nobody reaches it");

    let git = |arguments: &[&str]| {
        assert!(Command::new("git").arg("-C").arg(folder.path()).args(arguments).output().unwrap().status.success());
    };
    git(&["init", "-q"]);
    assert_eq!(warnings(&sources), ["warning: `.env` holds secrets and git does not ignore it"]);
    git(&["add", ".env"]);
    assert_eq!(warnings(&sources), ["warning: `.env` holds secrets and is in the git repository"]);
    git(&["rm", "-q", "--cached", ".env"]);
    fs::write(folder.path().join(".gitignore"), ".env*\n").unwrap();
    assert!(warnings(&sources).is_empty());

    sources.set = map(&[("KEY", "visible")]);
    let seen = "warning: the secret `KEY` is given by `--set`: other users see it in the list of processes";
    assert_eq!(warnings(&sources), [seen]);
}

#[test]
fn files_refer_to_the_process_and_to_earlier_files() {
    let resolved = production(&["URL", "DATA", "HOST"].map(|name| (name, variable())));
    let (_folder, mut sources) =
        project(&[(".env", "HOST=db\nBASE=/srv\n"), (".env.production", "URL=redis://${HOST}\nDATA=$BASE/$USER\n")]);
    sources.process = map(&[("USER", "me")]);
    let found = preview(&resolved, &sources).unwrap();
    assert_eq!(found.values.all, map(&[("DATA", "/srv/me"), ("HOST", "db"), ("URL", "redis://db")]));
    assert_eq!(messages(&found.warnings), ["warning: `.env` sets `BASE`, which the stack does not declare"]);
}

#[test]
fn options_are_names_with_values() {
    assert_eq!(parse_set(["A=1", "B=x=y", "C="]).unwrap(), map(&[("A", "1"), ("B", "x=y"), ("C", "")]));
    let problems = parse_set(["hunter2", "=x"]).unwrap_err();
    assert_eq!(problems.len(), 2);
    assert!(!problems.to_string().contains("hunter2"));
}
