//! The proxies that are compared, each with one worker, keep-alive on both sides and no access log.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use edge::table::{Action, Identity, Listener, PathRule, Peer, Pool, Table, Upstream};

use crate::{
    fault::{Doing, Fault},
    process::Running,
    stand::slipway,
    visit::{free_address, get},
};

/// Bytes of the answer that is passed on.
const BODY: usize = 1024;

/// One proxy under load.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Running,
}

impl Proxy {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A program of Debian's packages.
pub(crate) fn find(program: &str) -> Result<PathBuf, Fault> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        // where Debian puts daemons, which a user's path may lack
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            Fault::new(format!(
                "{program} is missing: apt-get install -y --no-install-recommends nginx-light haproxy wrk"
            ))
        })
}

/// The application behind the proxies: nginx with a fixed answer of 1 KB, in a process of its own.
pub(crate) fn upstream(folder: &Path) -> Result<Proxy, Fault> {
    let address = free_address()?;
    let server = format!(
        "server {{ listen {address} reuseport; location / {{ default_type text/plain; return 200 '{}'; }} }}",
        "x".repeat(BODY)
    );
    nginx("upstream", folder, address, &server)
}

/// nginx as a proxy, set up as a careful person would: it tells the application what the edge tells it.
pub(crate) fn nginx_proxy(folder: &Path, upstream: SocketAddr) -> Result<Proxy, Fault> {
    let address = free_address()?;
    let server = format!(
        "upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
         server {{
             listen {address} reuseport;
             location / {{
                 proxy_pass http://app;
                 proxy_http_version 1.1;
                 proxy_set_header Connection '';
                 proxy_set_header Host $host;
                 proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                 proxy_set_header X-Forwarded-Proto $scheme;
                 proxy_set_header X-Forwarded-Host $host;
                 proxy_set_header X-Request-Id $request_id;
             }}
         }}"
    );
    nginx("nginx", folder, address, &server)
}

/// nginx as a store of files: PUT and GET below a folder.
pub(crate) fn nginx_store(folder: &Path) -> Result<Proxy, Fault> {
    let address = free_address()?;
    let files = folder.join("files");
    fs::create_dir_all(&files).doing("cannot write nginx's files")?;
    fs::write(files.join("index.html"), "x".repeat(BODY)).doing("cannot write nginx's files")?;
    let server = format!(
        "server {{
             listen {address} reuseport; root {}; client_max_body_size 64m; sendfile on;
             location / {{ dav_methods PUT; create_full_put_path on; }}
         }}",
        files.display()
    );
    nginx("store", folder, address, &server)
}

fn nginx(name: &'static str, folder: &Path, address: SocketAddr, server: &str) -> Result<Proxy, Fault> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).doing("cannot write nginx's folder")?;
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};"))
        .join(" ");
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log warn;
         events {{ worker_connections 4096; multi_accept on; }}
         http {{
             access_log off; {temporary}
             keepalive_timeout 600s; keepalive_requests 1000000000; tcp_nodelay on;
             {server}
         }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).doing("cannot write nginx.conf")?;
    let mut command = Command::new(find("nginx")?);
    command.arg("-c").arg(&file).arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder);
    serve(name, address, &mut command)
}

/// HAProxy.
pub(crate) fn haproxy(folder: &Path, upstream: SocketAddr) -> Result<Proxy, Fault> {
    let address = free_address()?;
    let text = format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 600s
    timeout server 600s
frontend visitors
    bind {address}
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Request-Id %[uuid()]
    default_backend app
backend app
    server one {upstream} maxconn 4096
"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).doing("cannot write haproxy.cfg")?;
    serve("haproxy", address, Command::new(find("haproxy")?).arg("-db").arg("-f").arg(&file))
}

/// Our edge, as the agent starts it: `slipway edge FOLDER`.
pub(crate) fn our_edge(folder: &Path, upstream: SocketAddr) -> Result<Proxy, Fault> {
    let address = free_address()?;
    let one = Upstream { id: "one".to_owned(), address: upstream, revision: "r".to_owned(), weight: 100, peer: None };
    edge_of("edge", folder, address, &table(address, one))
}

/// Two of our edges, as on two hosts: visitors come to the first, and the second has the only instance.
pub(crate) fn our_pair(folder: &Path, upstream: SocketAddr) -> Result<[Proxy; 2], Fault> {
    const NAME: &str = "bench.slipway.internal";
    let made = |error: rcgen::Error| Fault::new(format!("cannot make a certificate: {error}"));
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(made)?;
    let identity = |exports: &[&str]| Identity {
        authority: cert.pem(),
        certificate: cert.pem(),
        key: signing_key.serialize_pem(),
        exports: exports.iter().map(|&pool| pool.to_owned()).collect(),
    };
    let one = Upstream { id: "one".to_owned(), address: upstream, revision: "r".to_owned(), weight: 100, peer: None };
    let (address, door) = (free_address()?, free_address()?);
    let mut there = table(address, one.clone());
    there.peer_listeners.insert(door);
    there.identities.insert(NAME.to_owned(), identity(&["app"]));
    let there = edge_of("there", folder, address, &there)?;
    let address = free_address()?;
    let peer = Peer { identity: NAME.to_owned(), pool: "app".to_owned(), instances: 1 };
    let mut here = table(address, Upstream { address: door, peer: Some(peer), ..one });
    here.identities.insert(NAME.to_owned(), identity(&[]));
    Ok([edge_of("here", folder, address, &here)?, there])
}

fn table(address: SocketAddr, upstream: Upstream) -> Table {
    let rule = PathRule { websocket: true, ..PathRule::new("/", Action::Pool("app".to_owned()), "app/".to_owned()) };
    let pool = Pool { upstreams: vec![upstream], probe: None, hold: std::time::Duration::from_secs(5) };
    Table {
        version: 1,
        listeners: vec![Listener { address, hosts: [].into(), fallback: Some(vec![rule]) }],
        pools: [("app".to_owned(), pool)].into(),
        ..Table::default()
    }
}

fn edge_of(name: &'static str, folder: &Path, address: SocketAddr, table: &Table) -> Result<Proxy, Fault> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder).doing("cannot write the edge's folder")?;
    let text = serde_json::to_string(table).doing("cannot write the route table")?;
    fs::write(folder.join("table.json"), text).doing("cannot write the route table")?;
    serve(name, address, Command::new(slipway()?).arg("edge").arg(&folder).args(["--workers", "1"]))
}

fn serve(name: &'static str, address: SocketAddr, command: &mut Command) -> Result<Proxy, Fault> {
    let mut process = Running::start(name, command)?;
    process.wait_until(|| matches!(get(address, "localhost", "/"), Some((200, body)) if body.len() >= BODY))?;
    Ok(Proxy { name, address, process })
}
