//! What the security scanner may let pass, and why: everything else it finds is a fault of ours.

use serde_json::{Map, Value, json};

use crate::{File, yaml};

/// Why, and the checks.
const EXPLAINED: [(&str, &[&str]); 15] = [
    (
        "AWS encrypts these with its own keys; name them in a `[key]` of the stack for one of yours",
        &[
            "CKV_AWS_145",
            "CKV_AWS_149",
            "CKV_AWS_158",
            "CKV_AWS_166",
            "CKV_AWS_173",
            "CKV_AWS_191",
            "CKV_AWS_241",
            "CKV_AWS_247",
            "CKV_AWS_297",
            "CKV_AWS_327",
            "CKV_AWS_35",
            "CKV_AWS_354",
            "CKV_AWS_58",
        ],
    ),
    ("CloudWatch may not write to a topic under AWS's key; alarms carry no data", &["CKV_AWS_26"]),
    (
        "logs stay as long as the stack says, and are archived where it says so",
        &["CKV_AWS_338", "CKV2_AWS_10", "CKV_AWS_252"],
    ),
    (
        "values change by `slipway` with a deploy: a secret that changes under a running program breaks it",
        &["CKV2_AWS_57"],
    ),
    (
        "the balancer speaks plain HTTP with tasks of the private network only; port 80 does nothing but send to 443",
        &["CKV_AWS_378", "CKV_AWS_260"],
    ),
    (
        "a variable decides, by environment: protection, standby, replicas",
        &["CKV_AWS_293", "CKV_AWS_157", "CKV2_AWS_50"],
    ),
    (
        "backups, versions and restores stand in for a second region; the stack names no other",
        &["CKV_AWS_144", "CKV_AWS_310"],
    ),
    (
        "access is written down by the balancer's and the gateway's own logs, by flow logs and by CloudTrail",
        &["CKV_AWS_18", "CKV_AWS_86", "CKV_AWS_91", "CKV_AWS_84", "CKV_AWS_317", "CKV2_AWS_31", "CKV2_AWS_27"],
    ),
    (
        "events of a bucket go where a function listens; a life is given to buckets of data, not of pages",
        &["CKV2_AWS_62", "CKV2_AWS_61"],
    ),
    (
        "a filter is where the stack has a `[waf]`, countries where it names them; visitors behind a VPN are welcome",
        &["CKV_AWS_68", "CKV2_AWS_28", "CKV_AWS_374", "CKV2_AWS_47", "CKV2_AWS_77"],
    ),
    (
        "images are immutable and scanned; failed events go to a queue by the invoke configuration",
        &["CKV_AWS_272", "CKV_AWS_116", "CKV_AWS_115"],
    ),
    (
        "the application signs people in itself, answers of an API are not for caches, and the gateway's name is its own",
        &["CKV_AWS_309", "CKV_AWS_120", "CKV_AWS_225", "CKV2_AWS_51", "CKV_AWS_237"],
    ),
    (
        "a wildcard is in the certificate where the stack wrote one; subdomains answer for themselves",
        &["CKV2_AWS_71", "CKV_AWS_259"],
    ),
    (
        "a bucket of assets has no first page; the network lets in only those who need it, by role",
        &["CKV_AWS_305", "CKV2_AWS_52"],
    ),
    (
        "the scanner does not follow a count, a slice, or an output into another module: backup, waf",
        &["CKV2_AWS_5", "CKV_AWS_394", "CKV2_AWS_3", "CKV_AWS_118", "CKV2_AWS_8", "CKV2_AWS_29"],
    ),
];

/// `.checkov.yaml`, read by checkov when it runs in this folder.
pub(crate) fn explained() -> File {
    let mut skipped: Vec<Value> = Vec::new();
    let mut reasons = Map::new();
    for (why, checks) in EXPLAINED {
        reasons.insert(format!("# {}: {why}", checks.join(", ")), Value::Null);
        skipped.extend(checks.iter().map(|check| Value::from(*check)));
    }
    let mut whole = Map::new();
    whole.insert("framework".to_owned(), json!(["terraform"]));
    whole.extend(reasons);
    whole.insert("skip-check".to_owned(), skipped.into());
    File::new(".checkov.yaml", "checkov --directory . finds nothing else.", &yaml::document(&whole.into()))
}
