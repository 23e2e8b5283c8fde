//! Rendered Terraform, read by what reads it in earnest.

use render::Target;

use crate::{
    bench::{Bench, run},
    emulator::{self, Applied, Emulator, Terraform},
    kept, made, mistakes,
    older::Older,
    opentofu,
    provider::Provider,
    stacks, terraform,
};

/// The stacks that are rendered for AWS.
const CLOUDS: [(&str, &str); 5] = [
    ("jamdung", "production"),
    ("jobgraph", "production"),
    ("roastify-ec2", "production"),
    ("jobsprint", "production"),
    ("companion", "cloud"),
];

// proves T1, T5, T13, S0.9, S0.11, S1.1-S1.39, S3.15, S4.9, S4.10
#[test]
fn terraform_is_formatted_and_every_argument_is_one_of_the_provider() {
    let provider = Provider::get();
    for (stack, environment) in CLOUDS {
        let bench = Bench::render(stack, environment, Target::Terraform);
        run(kept::terraform().args(["fmt", "-check", "-diff", "-recursive"]).current_dir(bench.folder()));
        let wrong = terraform::check(&provider, bench.folder());
        assert!(wrong.is_empty(), "{stack} {environment}: {wrong:#?}");
    }
}

/// The check above is worth what it finds.
#[test]
fn every_kind_of_mistake_in_terraform_is_found() {
    let provider = Provider::get();
    let bench = Bench::render("jamdung", "production", Target::Terraform);
    for mistakes::Mistake { file, edit: (from, to), said } in mistakes::MISTAKES {
        let right = std::fs::read_to_string(bench.path(file)).expect("rendered");
        let wrong = if from.is_empty() { format!("{right}{to}") } else { right.replacen(from, to, 1) };
        assert_ne!(wrong, right, "{file} has no `{from}`");
        std::fs::write(bench.path(file), wrong).expect("written");
        let found = terraform::check(&provider, bench.folder());
        assert!(found.iter().any(|one| one.contains(said)), "`{from}` as `{to}` in {file}: {found:#?}");
        std::fs::write(bench.path(file), right).expect("written");
    }
    assert_eq!(terraform::check(&provider, bench.folder()).len(), 0);
}

/// Where neither Terraform nor OpenTofu is installed, the old one stands in: it knows right from wrong in the same way.
#[test]
fn the_old_terraform_formats_like_the_new() {
    let format = |bench: &Bench| {
        let mut old = std::process::Command::new(kept::old_terraform());
        old.args(["fmt", "-check", "-diff", "-recursive"]).env("CHECKPOINT_DISABLE", "1").current_dir(bench.folder());
        old
    };
    for (stack, environment) in CLOUDS {
        run(&mut format(&Bench::render(stack, environment, Target::Terraform)));
    }
    let bench = Bench::render("jamdung", "production", Target::Terraform);
    let alarms = bench.path("modules/alarms/main.tf");
    let text = std::fs::read_to_string(&alarms).expect("rendered");
    std::fs::write(alarms, text.replacen("  name = ", "  name  = ", 1)).expect("written");
    assert!(!format(&bench).output().expect("it runs").status.success(), "the difference is not seen");
}

/// OpenTofu reads the same files.
#[test]
fn terraform_is_in_the_language_of_opentofu_too() {
    for (stack, environment) in CLOUDS {
        let bench = Bench::render(stack, environment, Target::Terraform);
        let wrong = opentofu::check(&bench.files(".tf"));
        assert!(wrong.is_empty(), "{stack} {environment}: {wrong:#?}");
    }
    let bench = Bench::render("jamdung", "production", Target::Terraform);
    let other = "ephemeral \"a\" \"b\" {}\nlocals {\n  c = provider::aws::arn_parse(ephemeralasnull(1))\n}\n";
    std::fs::write(bench.path("other.tf"), other).expect("written");
    assert_eq!(opentofu::check(&bench.files(".tf")).len(), 3, "each is found");
}

/// Terraform itself finds nothing wrong: each module has what it names, of the type it wants, and nothing goes in circles.
/// It is asked with the newest provider that every machine can have; what today's takes is checked above.
#[test]
fn terraform_validates_every_environment() {
    let older = Older::get();
    std::thread::scope(|scope| {
        for (stack, _) in CLOUDS {
            let older = &older;
            scope.spawn(move || {
                for resolved in stacks::all(stack) {
                    let bench = Bench::render(stack, resolved.name.as_str(), Target::Terraform);
                    older.rewrite(bench.folder());
                    Terraform::new(bench.folder()).run(&["validate", "-no-color"]);
                }
            });
        }
    });
}

/// What an emulator of AWS is told to make, it makes; a second time there is nothing to do; and all of it can be taken away.
// proves T1, S0.11, S0.16, S1.16, S1.46
#[test]
fn terraform_applies_to_an_emulator_of_aws() {
    let emulator = Emulator::start();
    emulator.ask(emulator::ZONES);
    let bench = Bench::render("jamdung", "production", Target::Terraform);
    let values = ["-var-file=environments/production.tfvars", "-var=protect=false"];
    // the emulator has no policies of CloudFront, and a budget is for somebody to be told of
    let applied = Applied::new(&emulator, &bench, &values, &["budget", "cdn"]);
    applied.apply();
    made::check(&emulator.ask(emulator::MADE));
    let drift: Vec<String> = applied
        .drift()
        .into_iter()
        .filter(|one| !emulator::FORGOTTEN.iter().any(|known| one.ends_with(known)))
        .collect();
    assert!(drift.is_empty(), "a second plan would change {drift:#?}");
    applied.destroy();
    let left = emulator.ask(emulator::MADE);
    for kind in ["buckets", "clusters", "functions", "roles", "logs", "secrets", "groups"] {
        let count =
            left[kind].as_array().map_or_else(|| left[kind].as_object().map_or(0, serde_json::Map::len), Vec::len);
        assert_eq!(count, 0, "{kind}: {}", left[kind]);
    }
}

/// Findings of the security scanner are mended or explained in `.checkov.yaml`.
#[test]
fn checkov_finds_nothing_that_is_not_explained() {
    for (stack, environment) in CLOUDS {
        let bench = Bench::render(stack, environment, Target::Terraform);
        run(kept::checkov().args(["--quiet", "--compact", "--directory", "."]).current_dir(bench.folder()));
    }
}
