//! Webhooks against the real daemon, signed by Python as any sender would.

use dalsegno_tests::{Daemon, House};
use serde_json::{Value, json};
use std::process::Command;

const LISTENS: &str = r#"
flow: listens
run: { strategy: { parallel: 10 } }
params:
  commit: { type: string, default: none }
triggers:
  - event: github.push
    params: { commit: "${{ event.data.commit }}" }
  - event: webhook.pay
    params: { commit: "${{ event.data.paid }}" }
steps:
  hear: { run: "echo \"$COMMIT\" >> '{house}/witness'" }
"#;

const CONFIGURATION: &str = r#"
token = "s3cret"
[[webhooks]]
name = "github"
verify = "github"
secret_env = ["DALSEGNO_HUB_NEW", "DALSEGNO_HUB_OLD"]
type = "github.${{ headers['x-github-event'] }}"
where = "body.ref == 'main'"
data = { commit = "${{ body.after }}" }
[[webhooks]]
name = "pay"
verify = "standard"
secret_file = "pay.secret"
"#;

fn house() -> House {
    let house = House::with(&[("listens.yaml", LISTENS)]);
    house.configure(CONFIGURATION);
    std::fs::write(
        house.path("pay.secret"),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
    )
    .expect("the house can be written to");
    house
}

const SECRETS: [(&str, &str); 2] = [("DALSEGNO_HUB_NEW", "new"), ("DALSEGNO_HUB_OLD", "old")];

#[test]
fn a_signed_delivery_starts_a_run_once_without_the_token_and_nothing_else_is_open() {
    let house = house();
    let mut witness = house.witness("witness");
    let daemon = house.up_in(&SECRETS);
    let push = json!({"ref": "main", "after": "c0ffee"}).to_string();
    for (secret, duplicate) in [("new", false), ("old", true)] {
        let answer = github(&daemon, "push", "d-1", &push, secret)
            .expect(202)
            .json();
        assert_eq!(answer["items"][0]["duplicate"], duplicate);
    }
    assert_eq!(witness.line(), "c0ffee");
    let form = "payload=%7B%22ref%22%3A%22main%22%2C%22after%22%3A%22f0rm%22%7D";
    let signature = hub_signature(form, "new");
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "tunnel.example"),
        ("x-github-event", "push"),
        ("x-github-delivery", "d-2"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let path = "/api/v1/webhooks/github";
    daemon
        .api()
        .post_with(path, &headers, form.as_bytes())
        .expect(202);
    assert_eq!(
        witness.line(),
        "f0rm",
        "under another name for this machine, too"
    );

    let other = json!({"ref": "other", "after": "c0ffee"}).to_string();
    let answer = github(&daemon, "push", "d-3", &other, "new")
        .expect(202)
        .json();
    assert!(answer["ignored"].to_string().contains("where"), "{answer}");
    let answer = github(&daemon, "ping", "d-4", "{}", "new")
        .expect(202)
        .json();
    assert!(answer["ignored"].to_string().contains("ping"), "{answer}");

    let problem = github(&daemon, "push", "d-5", &push, "guessed").problem(401);
    assert_eq!(problem["code"], "bad_signature");
    let api = daemon.api();
    let problem = api.post("/api/v1/webhooks/nobody", &json!({})).problem(404);
    assert_eq!(problem["code"], "unknown_webhook");
    for path in ["/api/v1/events", "/api/v1/lineage", "/api/v1/webhooks/a/b"] {
        let problem = api.post(path, &json!({})).problem(401);
        assert_eq!(problem["code"], "unauthorized", "{path}");
    }
    assert_eq!(
        api.get("/api/v1/webhooks/github").problem(401)["code"],
        "unauthorized"
    );
}

#[test]
fn a_standard_delivery_counts_once_and_only_while_it_is_new() {
    let house = house();
    let mut witness = house.witness("witness");
    let daemon = house.up_in(&SECRETS);
    let body = r#"{"paid": "17 EUR"}"#;
    let deliver = |id: &str, age: i64, body: &str, tampered: &str| {
        let (sent, signature) = standard_signature(id, age, body);
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", id),
            ("webhook-timestamp", sent.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        let path = "/api/v1/webhooks/pay";
        daemon.api().post_with(path, &headers, tampered.as_bytes())
    };
    for duplicate in [false, true] {
        let answer = deliver("msg-1", 0, body, body).expect(202).json();
        assert_eq!(answer["items"][0]["duplicate"], duplicate);
    }
    assert_eq!(witness.line(), "17 EUR");
    let problem = deliver("msg-2", 400, body, body).problem(401);
    assert!(
        problem["detail"].to_string().contains("behind our clock"),
        "{problem}"
    );
    deliver("msg-3", -400, body, body).problem(401);
    deliver("msg-4", 0, body, r#"{"paid": "99 EUR"}"#).problem(401);
}

#[test]
fn a_secret_that_is_missing_is_told_when_the_daemon_starts() {
    let house = house();
    let said = house.run(&house.up_command()).all();
    assert!(
        said.contains("the variable DALSEGNO_HUB_NEW that `secret_env` names is not set"),
        "{said}"
    );
}

fn github(
    daemon: &Daemon,
    kind: &str,
    id: &str,
    body: &str,
    secret: &str,
) -> dalsegno_tests::Answer {
    let signature = hub_signature(body, secret);
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", kind),
        ("x-github-delivery", id),
        ("x-hub-signature-256", signature.as_str()),
    ];
    daemon
        .api()
        .post_with("/api/v1/webhooks/github", &headers, body.as_bytes())
}

fn hub_signature(body: &str, secret: &str) -> String {
    let script = "import hmac, sys; print('sha256=' + hmac.new(sys.argv[2].encode(), sys.argv[1].encode(), 'sha256').hexdigest())";
    python(script, &[body, secret]).trim().to_owned()
}

/// When a delivery of this age was sent, and its signature among others.
fn standard_signature(id: &str, age: i64, body: &str) -> (String, String) {
    let script = "import base64, hmac, json, sys, time\n\
        sent = str(int(time.time()) - int(sys.argv[2]))\n\
        key = base64.b64decode('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')\n\
        mac = hmac.new(key, f'{sys.argv[1]}.{sent}.{sys.argv[3]}'.encode(), 'sha256').digest()\n\
        print(json.dumps([sent, 'v1,AAAA v1,' + base64.b64encode(mac).decode()]))";
    let said = python(script, &[id, &age.to_string(), body]);
    let pair: Value = serde_json::from_str(&said).expect("JSON");
    let text = |place: usize| pair[place].as_str().expect("text").to_owned();
    (text(0), text(1))
}

fn python(script: &str, arguments: &[&str]) -> String {
    let python = std::env::var_os("DALSEGNO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .output();
    let output = output.expect("Python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
