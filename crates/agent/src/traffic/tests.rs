//! Tables as text: who gets which visitors.

use std::fmt::Write as _;

use engine::desired::InstanceState;

use super::*;

mod hosts;

const SHOP: &str = r#"
app = "shop"

[service.api]
run = "./api"
port = 4000
health = { path = "/health" }
needs = ["service.mail"]

[service.mail]
run = "./mail"
port = 4001

[site.web]
dir = "site"
out = "dist"
build = "true"
spa = true
headers = { "X-Frame-Options" = "DENY" }

[route."shop.io"]
"/" = "site.web"
"/api" = { to = "service.api", strip = true, limit = "100/s per ip", cors = "ORIGINS", max_body = "10Mi", sticky = true }
redirect_from = ["www.shop.io"]

[variable]
ORIGINS = { type = "url-list", default = "https://shop.io" }

[environment.dev]
target = "local"

[environment.live]
target = "hosts"
hosts = ["deploy@shop.io"]
trusted_proxies = ["10.0.0.0/8"]
"#;

fn scope(environment: &str) -> Scope {
    Scope { app: "shop".parse().unwrap(), environment: environment.parse().unwrap() }
}

fn instance(loaded: &Loaded, service: &str, number: u16, state: InstanceState) -> Instance {
    Instance {
        id: format!("{service}-{}-{number}", &loaded.revision.release.as_str()[..1]),
        host: "this machine".to_owned(),
        revision: loaded.revision.clone(),
        service: service.parse().unwrap(),
        state,
        restarts: 0,
        pid: Some(1),
        port: Some(20_000 + number),
        started_at: None,
        memory: None,
    }
}

fn part(environment: &str, shares: &[(&Arc<Loaded>, u8)], instances: Vec<Instance>) -> Part {
    let traffic: BTreeMap<Revision, u8> =
        shares.iter().map(|(loaded, percent)| (loaded.revision.clone(), *percent)).filter(|(_, p)| *p > 0).collect();
    let running = shares.iter().map(|(loaded, _)| loaded.revision.clone()).collect();
    Part {
        scope: scope(environment),
        desired: Desired { running, traffic, schedules: None, by_host: false },
        loaded: shares.iter().map(|(loaded, _)| (loaded.revision.clone(), (*loaded).clone())).collect(),
        instances,
        socket: PathBuf::from("/h/agent.sock"),
        internal: BTreeMap::new(),
        earlier: Vec::new(),
        membership: None,
        buckets: BTreeMap::new(),
        functions: crate::functions::Places::default(),
    }
}

/// A table as a person would write it down.
fn show(made: &Made) -> String {
    let mut text = String::new();
    for listener in &made.table.listeners {
        writeln!(text, "{}", listener.address).unwrap();
        let hosts = listener.hosts.iter().map(|(host, rules)| (host.as_str(), rules));
        for (host, rules) in hosts.chain(listener.fallback.as_ref().map(|rules| ("any", rules))) {
            for rule in rules {
                write!(text, "  {host}{} -> {:?}", rule.path, rule.action).unwrap();
                if rule.strip || rule.limit.is_some() || rule.cors.is_some() || rule.sticky || rule.max_body.is_some() {
                    let (limit, cors) = (&rule.limit, &rule.cors);
                    write!(
                        text,
                        " strip={} limit={limit:?} cors={cors:?} sticky={} max_body={:?}",
                        rule.strip, rule.sticky, rule.max_body
                    )
                    .unwrap();
                }
                text.push('\n');
            }
        }
    }
    for (id, pool) in &made.table.pools {
        writeln!(text, "pool {id}, probe {:?}", pool.probe.as_ref().map(|probe| &probe.path)).unwrap();
        for one in &pool.upstreams {
            write!(text, "  {} {} {} %", one.id, one.address, one.weight).unwrap();
            if let Some(peer) = &one.peer {
                write!(text, ", {} instances of {}", peer.instances, peer.pool).unwrap();
            }
            text.push('\n');
        }
    }
    for (id, site) in &made.table.sites {
        writeln!(text, "site {id}, spa {}", site.spa).unwrap();
        for root in &site.roots {
            writeln!(text, "  {} {} %", root.folder.display(), root.weight).unwrap();
        }
    }
    for (scope, troubles) in &made.troubles {
        writeln!(text, "trouble {scope}: {}", troubles.join("; ")).unwrap();
    }
    text
}

#[test]
fn two_revisions_share_visitors_and_only_instances_that_can_take_them_are_named() {
    let old = Loaded::of_text(SHOP, "dev", 'a', &[("ORIGINS", "https://shop.io, https://app.shop.io")]);
    let new = Loaded::of_text(SHOP, "dev", 'b', &[]);
    let mut part = part(
        "dev",
        &[(&old, 90), (&new, 10)],
        vec![
            instance(&old, "api", 1, InstanceState::Ready),
            instance(&old, "api", 2, InstanceState::Draining),
            instance(&old, "mail", 3, InstanceState::Ready),
            instance(&new, "api", 4, InstanceState::Unready { why: "busy".to_owned() }),
            instance(&new, "api", 5, InstanceState::Starting),
            instance(&new, "mail", 6, InstanceState::Waiting { why: "crashed".to_owned() }),
        ],
    );
    part.internal.insert(new.revision.clone(), BTreeMap::from([("mail".parse().unwrap(), 32_000)]));
    part.internal.insert(old.revision.clone(), BTreeMap::from([("mail".parse().unwrap(), 32_001)]));
    let earlier = Revision::try_from(format!("{}+{}", "c".repeat(64), "0".repeat(16))).unwrap();
    part.earlier = vec![(earlier, "/store/c".into()), (old.revision.clone(), "/store/a".into())];
    let made = plan(&[part]);
    assert_eq!(made.serving[&scope("dev")], BTreeMap::from([(old.revision.clone(), 90), (new.revision.clone(), 10)]));
    insta::assert_snapshot!(show(&made), @r#"
    127.0.0.1:8080
      shop.io/api -> Pool("shop/dev/service.api") strip=true limit=Some(Limit { requests: 100, period: 1s, per_client: true }) cors=Some(["https://shop.io", "https://app.shop.io"]) sticky=true max_body=Some(10485760)
      shop.io/ -> Site("shop/dev/site.web")
      shop.io.localhost/api -> Pool("shop/dev/service.api") strip=true limit=Some(Limit { requests: 100, period: 1s, per_client: true }) cors=Some(["https://shop.io", "https://app.shop.io"]) sticky=true max_body=Some(10485760)
      shop.io.localhost/ -> Site("shop/dev/site.web")
      www.shop.io/ -> Redirect("shop.io:8080")
      www.shop.io.localhost/ -> Redirect("shop.io.localhost:8080")
      any/api -> Pool("shop/dev/service.api") strip=true limit=Some(Limit { requests: 100, period: 1s, per_client: true }) cors=Some(["https://shop.io", "https://app.shop.io"]) sticky=true max_body=Some(10485760)
      any/ -> Site("shop/dev/site.web")
    127.0.0.1:32000
      any/ -> Pool("shop/dev/service.mail@bbbbbbbbbbbb-000000000000")
    127.0.0.1:32001
      any/ -> Pool("shop/dev/service.mail@aaaaaaaaaaaa-000000000000")
    pool shop/dev/service.api, probe Some(Some("/health"))
      shop/dev/api-a-1 127.0.0.1:20001 90 %
      shop/dev/api-b-4 127.0.0.1:20004 10 %
    pool shop/dev/service.mail@aaaaaaaaaaaa-000000000000, probe Some(None)
      shop/dev/mail-a-3 127.0.0.1:20003 1 %
    pool shop/dev/service.mail@bbbbbbbbbbbb-000000000000, probe Some(None)
    site shop/dev/site.web, spa true
      /store/a/site/web 90 %
      /store/b/site/web 10 %
      /store/c/site/web 0 %
    "#);
}

#[test]
fn before_the_first_visitors_there_are_no_routes_but_services_reach_each_other() {
    let new = Loaded::of_text(SHOP, "dev", 'b', &[]);
    let mut part = part("dev", &[(&new, 0)], vec![instance(&new, "mail", 1, InstanceState::Ready)]);
    part.internal.insert(new.revision.clone(), BTreeMap::from([("mail".parse().unwrap(), 32_000)]));
    insta::assert_snapshot!(show(&plan(&[part])), @r#"
    127.0.0.1:32000
      any/ -> Pool("shop/dev/service.mail@bbbbbbbbbbbb-000000000000")
    pool shop/dev/service.mail@bbbbbbbbbbbb-000000000000, probe Some(None)
      shop/dev/mail-b-1 127.0.0.1:20001 1 %
    "#);
}

#[test]
fn a_host_belongs_to_one_environment_of_an_address() {
    let dev = Loaded::of_text(SHOP, "dev", 'a', &[]);
    let other = SHOP.replace("[environment.live]", "[environment.test]\ntarget = \"local\"\n\n[environment.live]");
    let test = Loaded::of_text(&other, "test", 'b', &[]);
    let made = plan(&[part("dev", &[(&dev, 100)], vec![]), part("test", &[(&test, 100)], vec![])]);
    assert_eq!(made.troubles.keys().collect::<Vec<_>>(), [&scope("test")]);
    let troubles = &made.troubles[&scope("test")];
    assert_eq!(troubles.len(), 4, "{troubles:?}");
    assert!(
        troubles[0].starts_with("host `shop.io` on 127.0.0.1:8080 belongs to shop/dev already; give one"),
        "{troubles:?}"
    );
    // Apart, both are well, and both answer unknown hosts.
    let other = other.replace("[environment.test]", "[environment.test]\nlisten = [\"127.0.0.1:8081\"]");
    let test = Loaded::of_text(&other, "test", 'b', &[]);
    let made = plan(&[part("dev", &[(&dev, 100)], vec![]), part("test", &[(&test, 100)], vec![])]);
    assert!(made.troubles.is_empty(), "{:?}", made.troubles);
    assert_eq!(made.table.listeners.iter().filter(|listener| listener.fallback.is_some()).count(), 2);
}

#[test]
fn on_real_hosts_every_answer_carries_the_headers_that_protect_visitors() {
    // proves S4.P9
    let live = Loaded::of_text(SHOP, "live", 'a', &[]);
    let made = plan(&[part("live", &[(&live, 100)], vec![])]);
    assert_eq!(made.table.trusted_proxies, ["10.0.0.0/8".parse::<IpNet>().unwrap()], "proves S4.P10");
    let listener = &made.table.listeners[0];
    assert_eq!(listener.address.to_string(), "0.0.0.0:80");
    assert!(listener.fallback.is_none(), "an unknown host gets nothing");
    assert!(!listener.hosts.contains_key("shop.io.localhost"));
    for rule in &listener.hosts["shop.io"] {
        for name in
            ["content-security-policy", "strict-transport-security", "x-frame-options", "x-content-type-options"]
        {
            let found = rule.headers.iter().filter(|(known, _)| known == name).count();
            assert_eq!(found, 1, "{name} of {}", rule.path);
        }
    }
    let site = listener.hosts["shop.io"].iter().find(|rule| matches!(rule.action, Action::Site(_))).unwrap();
    let value = |name: &str| site.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(value("x-frame-options"), Some("DENY"), "the site's own counts");
    insta::assert_snapshot!(value("content-security-policy").unwrap(), @r#"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' https://shop.io wss://shop.io; form-action 'self' https://shop.io wss://shop.io; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"#);
}

#[test]
fn a_stack_without_routes_shows_its_site_or_its_only_service_locally() {
    let text = "app = \"shop\"\n[service.api]\nrun = \"./api\"\nport = 4000\n[environment.dev]\ntarget = \"local\"\n";
    let one = Loaded::of_text(text, "dev", 'a', &[]);
    let made = plan(&[part("dev", &[(&one, 100)], vec![])]);
    let rules = made.table.listeners[0].fallback.as_ref().unwrap();
    assert_eq!(rules[0].action, Action::Pool("shop/dev/service.api".to_owned()));
    let two = format!("{text}[service.b]\nrun = \"./b\"\nport = 4001\n");
    let two = Loaded::of_text(&two, "dev", 'a', &[]);
    assert!(
        plan(&[part("dev", &[(&two, 100)], vec![])]).table.listeners[0].fallback.is_none(),
        "nobody can tell which"
    );
}
