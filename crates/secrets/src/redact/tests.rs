use proptest::prelude::*;

use super::*;

fn redactor(values: &[&str]) -> Redactor {
    Redactor::new(values.iter().map(|value| (*value).to_owned()))
}

fn shaped(text: &str) -> String {
    redactor(&[]).redact(text).into_owned()
}

// proves S4.P7
#[test]
fn known_values_go_in_every_spelling() {
    let secret = "p@ss/w\"örd & more'=";
    let redactor = redactor(&[secret]);
    for text in [
        secret.to_owned(),
        format!("{secret:?}"),
        serde_json::to_string(secret).unwrap(),
        serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(),
        "q=p%40ss%2Fw%22%C3%B6rd%20%26%20more%27%3D&x=1".to_owned(),
        "q=p%40ss%2fw%22%c3%b6rd+%26+more%27%3d&x=1".to_owned(),
        "p@ss/w\\\"\\u00f6rd & more'=".to_owned(),
        "p@ss/w&quot;örd &amp; more&#39;=".to_owned(),
        "70407373 704073732f7722c3b67264202620 6d6f7265273d 704073732f7722c3b672642026206d6f7265273d".to_owned(),
    ] {
        let shown = redactor.redact(&text);
        assert!(!shown.contains(secret) && (shown.contains(MARK) || text.starts_with("7040")), "{text} -> {shown}");
    }
}

#[test]
fn base64_hides_at_any_offset() {
    let secret = "correct horse battery";
    let redactor = redactor(&[secret]);
    for (before, text) in [
        ("", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"),
        ("a", "YWNvcnJlY3QgaG9yc2UgYmF0dGVyeQ=="),
        ("ab", "YWJjb3JyZWN0IGhvcnNlIGJhdHRlcnk="),
        ("u:", "dTpjb3JyZWN0IGhvcnNlIGJhdHRlcnk="),
    ] {
        let shown = redactor.redact(text);
        assert!(shown.contains(MARK) && shown.len() < MARK.len() + 7, "{before}: {shown}");
    }
}

// proves S4.P7
#[test]
fn what_looks_like_a_secret_goes() {
    for (text, shown) in [
        ("password=hunter2 user=bob", "password=[redacted] user=bob"),
        ("DB_PASSWORD='hunter 2' x", "DB_PASSWORD='[redacted]' x"),
        ("DB_PASS=hunter2", "DB_PASS=[redacted]"),
        (r#"{"user":"bob","newPassword": "hu\"nter","n":1}"#, r#"{"user":"bob","newPassword": "[redacted]","n":1}"#),
        (r#"body="{\"password\":\"hunter2\",\"a\":1}""#, r#"body="{\"password\":\"[redacted]\",\"a\":1}""#),
        (r#"Login { user: "bob", password: "hunter2" }"#, r#"Login { user: "bob", password: "[redacted]" }"#),
        (r#"password: Some("hunter two") }"#, "password: [redacted] }"),
        ("password: hunter2", "password: [redacted]"),
        ("password: hunter", "password: [redacted]"),
        ("?token=abc&next=/x", "?token=[redacted]&next=/x"),
        ("a=1, secret=x,y;z, b=2", "a=1, secret=[redacted], b=2"),
        ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
        ("{password: hunter2}", "{password: [redacted]}"),
        ("params[password]=hunter2", "params[password]=[redacted]"),
        (":password => \"hunter2\"", ":password => \"[redacted]\""),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("-H 'authorization: Basic dXNlcjpwYXNz' http://x", "-H 'authorization: Basic [redacted]' http://x"),
        (r#""authorization":"Bearer abc""#, r#""authorization":"Bearer [redacted]""#),
        (
            "Authorization: Digest username=\"u\", response=\"abc\"",
            "Authorization: Digest [redacted]\"u\", response=\"abc\"",
        ),
        ("Proxy-Authorization: a1b2c3d4e5", "Proxy-Authorization: [redacted]"),
        ("Cookie: sid=abc; theme=dark", "Cookie: [redacted]"),
        ("sent Bearer abcdef0123456789", "sent Bearer [redacted]"),
        ("Basic dXNlcjpwYXNz", "Basic [redacted]"),
        ("postgres://app:s3cr:et@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
        ("redis://:hunter2@cache", "redis://:[redacted]@cache"),
        ("git clone https://abcdefghij0123456789abcd@github.com/x", "git clone https://[redacted]@github.com/x"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl!", "jwt [redacted]!"),
        ("id AKIAIOSFODNN7EXAMPLE", "id [redacted]"),
        ("AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "[redacted] [redacted]"),
        ("aws_secret_access_key = wJalrXUtnFEMI", "aws_secret_access_key = [redacted]"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted]"),
        ("github_pat_11ABCDEFG0123456789_abcdef", "[redacted]"),
        ("xoxb-123456789012-abcdef", "[redacted]"),
        ("https://hooks.slack.com/services/T0000/B0000/XXXXXXXXXXXX ok", "https://[redacted] ok"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "[redacted]"),
        ("AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ", "[redacted]"),
        ("-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY----- ok", "[redacted] ok"),
        ("card 4111 1111 1111 1111 ok", "card [redacted] ok"),
        ("card=5500-0055-5555-5559;", "card=[redacted];"),
        ("4111111111111111", "[redacted]"),
        ("amex 3782 822463 10005", "amex [redacted]"),
        ("\"card\":\"6011111111111117\"", "\"card\":\"[redacted]\""),
        ("pay 42 4111 1111 1111 1111 12/29", "pay 42 [redacted] 12/29"),
        ("cvv=123", "cvv=[redacted]"),
    ] {
        assert_eq!(shaped(text), shown);
    }
}

// proves S4.P7
#[test]
fn ordinary_lines_stay_as_they_are() {
    for text in [
        "",
        "password reset requested for bob",
        "invalid password: must be at least 8 characters",
        "token expired: user 5",
        "password=",
        "\"password\":null,\"token\":true",
        "PASSWORD required, token: missing",
        "SyntaxError: Unexpected token < in JSON at position 0",
        "max_tokens: 4096 tokens=12 token_type=Bearer",
        "PWD=/srv/app pwd: /home/x",
        "550e8400-e29b-41d4-a716-446655440000",
        "request 41111111-1111-4111-8111-111111111111 done",
        "2026-11-25T16:12:13.123456Z took 1732551133123456 ns",
        "at 1732551133123 1764087133123456789",
        "order 1234567890123456 shipped",
        "order no. 100020003000400050",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "0.4111111111111111 4111111111111111.5",
        "GET http://localhost:4000/a@b?x=1 200",
        "see https://example.org/user:name/file",
        "mail bob@example.org, ssh://deploy@host",
        "bearer of bad news, basic authentication is off, Basic JavaScript",
        "authorization: denied for user bob",
        "Authorization: required",
        "no cookie: user is anonymous",
        "the secret of success",
        "secretary=bob tokenizer=on",
        "passwords::module loaded",
        "if token == other",
        "eyJust a word",
        "4 8 15 16 23 42 1234 5678 9012 3456",
        "-----BEGIN CERTIFICATE-----",
        "password=****",
    ] {
        assert_eq!(shaped(text), text);
        assert!(matches!(redactor(&["unrelated"]).redact(text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn redacting_twice_changes_nothing_more() {
    let once = shaped("password=hunter2 \"token\":\"abc\" Authorization: Bearer abcdefgh1 postgres://a:b@c");
    assert_eq!(shaped(&once), once);
}

#[test]
fn a_private_key_over_several_lines_goes() {
    let redactor = redactor(&[]);
    let mut block = KeyBlock::default();
    let lines =
        ["start", "-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBg==", "", "-----END PRIVATE KEY-----", "MIIE after"];
    let shown: Vec<String> = lines
        .iter()
        .map(|line| String::from_utf8(redactor.redact_line(line.as_bytes(), &mut block).into_owned()).unwrap())
        .collect();
    assert_eq!(shown, ["start", MARK, MARK, MARK, MARK, "MIIE after"]);
    // One that never ends does not silence the log.
    redactor.redact_line(b"-----BEGIN EC PRIVATE KEY-----", &mut block);
    assert_eq!(&*redactor.redact_line(b"listening on port 4000", &mut block), b"listening on port 4000");
}

#[test]
fn the_lines_of_a_value_and_the_password_of_a_url_are_known() {
    let redactor = redactor(&["first line of it\nsecond line\n}", "postgres://app:s3cr%40t@db/x"]);
    assert_eq!(redactor.redact("a second line b"), "a [redacted] b");
    assert_eq!(redactor.redact("as s3cr@t and s3cr%40t"), "as [redacted] and [redacted]");
}

#[test]
fn overlapping_values_go_both() {
    assert_eq!(redactor(&["abcdef", "defxyz"]).redact("-abcdefxyz-"), "-[redacted]-");
}

#[test]
fn values_that_the_mark_would_spell() {
    for value in ["redacted", "[redacted]", "acte", "x[red", "ted]y"] {
        let shown = redactor(&[value]).redact(&format!("x{value}y xsome{value}")).into_owned();
        assert!(!shown.contains(value), "{value}: {shown}");
    }
}

#[test]
fn short_values_are_let_be() {
    assert_eq!(redactor(&["dev", "1", ""]).redact("dev 1"), "dev 1");
    assert_eq!(redactor(&["root"]).redact("root"), MARK);
}

proptest! {
    // proves S4.P7
    #[test]
    fn no_known_value_survives(
        secrets in proptest::collection::vec("[ -~äß\"\\\\]{4,40}", 1..5),
        around in proptest::collection::vec("[ -~ä]{0,20}", 6),
        order in proptest::collection::vec(0_usize..5, 5),
    ) {
        let pieces = around.iter().zip(&order).map(|(text, pick)| format!("{text}{}", secrets[pick % secrets.len()]));
        let text = pieces.collect::<Vec<_>>().concat();
        let redactor = Redactor::new(secrets.clone());
        let shown = redactor.redact(&text).into_owned();
        for secret in secrets.iter().filter(|secret| secret.trim().len() >= 4) {
            prop_assert!(!shown.contains(secret.as_str()), "{secret:?} in {shown:?}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_value(secret in "[a-z]{4,30}", before in "[ -~]{0,60}", at_most in 1_usize..80) {
        let redactor = Redactor::new([secret.clone()]);
        let mut text = format!("{before}{secret}");
        text.push_str(&" ".repeat(redactor.reserve() + 100));
        let cut = redactor.cut(text.as_bytes(), at_most);
        let (left, right) = text.as_bytes().split_at(cut);
        let shown = [redactor.redact_bytes(left), redactor.redact_bytes(right)].concat();
        prop_assert!(!String::from_utf8_lossy(&shown).contains(&secret));
    }

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let redactor = redactor(&["needle"]);
        redactor.redact_bytes(&bytes);
        redactor.cut(&bytes, 50);
        redactor.redact_line(&bytes, &mut KeyBlock::default());
    }
}

/// Run with `cargo test -p secrets --release -- --ignored --nocapture`.
#[test]
#[ignore = "prints a measurement"]
fn throughput() {
    let line = "2026-11-25T16:12:13.123456Z INFO request id=550e8400-e29b-41d4-a716-446655440000 GET /api/jobs/42 200 in 1.25 ms\n";
    let text = line.repeat(20_000);
    let secrets: Vec<String> = (0..20).map(|number| format!("{number}-0f9c3e7a5b1d4c8e{number}")).collect();
    let redactor = Redactor::new(secrets);
    let begin = std::time::Instant::now();
    let mut length = 0;
    for line in text.lines() {
        length += redactor.redact_bytes(line.as_bytes()).len();
    }
    let micros = begin.elapsed().as_micros();
    println!("{} MB/s, line by line", length as u128 / micros);
}
