//! Alerts from the real daemon to those who are told: webhooks and e-mail, read with the official libraries of others.

use dalsegno_tests::{Aws, Daemon, House, eventually};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Fails, or not, as it is told; `to` is where its alerts go.
fn breaks(to: &str) -> String {
    format!(
        "flow: breaks\nowner: data-eng\nrun: {{ strategy: {{ parallel: 20 }} }}\nparams:\n  \
         how: {{ type: string, default: 'false' }}\nalerts:\n  - {{ on: [run.failed, run.recovered], to: {to}, group: none }}\n\
         steps:\n  go: {{ run: \"$HOW\" }}\n"
    )
}

#[test]
fn a_failed_run_is_told_so_that_the_official_libraries_accept_it() {
    let house = House::with(&[(
        "breaks.yaml",
        &breaks("[webhook:hook, webhook:former, webhook:tls, email:mail]"),
    )]);
    let consumer = Consumer::start(&house);
    std::fs::write(house.path("old.secret"), format!("{OLD}\n")).expect("written");
    house.configure(&format!(
        "{}{}{}{}{}{}",
        // A receiver with either of two keys is content.
        consumer.webhook("hook", "new", "secret = [{ env = \"NEW\" }, { file = \"old.secret\" }]"),
        consumer.webhook("former", "old", "secret = [{ env = \"NEW\" }, { file = \"old.secret\" }]"),
        consumer.webhook("wrong", "old", "secret = { env = \"NEW\" }"),
        format_args!(
            "[channels.tls]\ntype = \"webhook\"\nurl = \"https://localhost:{}/new\"\nsecret = {{ credential = \"key\" }}\n\
             ca_file = \"authority.pem\"\nallow_private = true\n",
            consumer.https
        ),
        consumer.mail("mail"),
        format_args!(
            "[channels.untrusted]\ntype = \"webhook\"\nurl = \"https://localhost:{}/new\"\nsecret = {{ env = \"NEW\" }}\n\
             allow_private = true\n",
            consumer.https
        ),
    ));
    std::fs::create_dir(house.path("credentials")).expect("a folder");
    std::fs::write(house.path("credentials/key"), NEW).expect("written");
    let credentials = house.path("credentials").display().to_string();
    let daemon = house.up_in(&[("NEW", NEW), ("CREDENTIALS_DIRECTORY", &credentials)]);
    let run = daemon.fails("breaks", &json!({}));
    daemon.succeeds("breaks", &json!({"how": "true"}));

    let heard = consumer.until("both alerts at four places", |all| all.len() >= 8);
    let at = |path: &str| {
        let all = heard.iter().filter(|it| it["path"] == path);
        all.collect::<Vec<_>>()
    };
    assert!(heard.iter().all(|it| it["how"] != "invalid"), "{heard:?}");
    assert_eq!((at("/new").len(), at("/old").len()), (4, 2), "{heard:?}");
    let told = at("/old")[0];
    assert_eq!(told["type"], "dalsegno.alert.run.failed");
    assert_eq!(
        (&told["id"], &told["event"]),
        (&json!("msg_1_former"), &json!("msg_1_former"))
    );
    let alert = &told["alerts"][0];
    assert_eq!(alert["run"].to_string(), run["id"].as_str().expect("an id"));
    assert_eq!(
        (&alert["owner"], &alert["flow"]),
        (&json!("data-eng"), &json!("breaks"))
    );
    assert_eq!(at("/old")[1]["alerts"][0]["is_recovery"], true);
    let mails = at("ops@example.com");
    assert_eq!(mails[0]["id"], "<msg_1_mail@dalsegno>");
    assert_eq!(mails[0]["secured"], true);
    let subject = mails[0]["subject"].as_str().expect("a subject");
    assert!(
        subject.starts_with("[Dalsegno] breaks failed in run"),
        "{subject}"
    );

    // What a person sees of it.
    let said = daemon.cli(&["alerts", "deliveries"]).succeeded().all();
    assert!(
        said.contains("msg_1_hook") && said.contains("delivered"),
        "{said}"
    );
    let said = daemon.cli(&["alerts", "list"]).succeeded().all();
    assert!(
        said.contains("run.failed") && said.contains("run.recovered"),
        "{said}"
    );
    let said = daemon.cli(&["alerts", "test", "hook"]).succeeded().all();
    assert!(said.contains("hook took it"), "{said}");
    let said = daemon.cli(&["alerts", "test", "wrong"]);
    assert!(said.all().contains("401"), "{said}");
    let said = daemon.cli(&["alerts", "test", "untrusted"]);
    assert!(
        said.all().contains("does not speak TLS as it should"),
        "{said}"
    );
    let said = daemon.cli(&["alerts", "test", "nobody"]).all();
    assert!(said.contains("there is no channel `nobody`"), "{said}");
    daemon.cli(&["alerts", "replay", "msg_1_hook"]).succeeded();
    consumer.until("it comes again, under its name", |all| {
        all.iter().filter(|it| it["id"] == "msg_1_hook").count() == 2
    });
}

#[test]
fn kills_at_any_moment_lose_no_alert_and_rename_none() {
    kill_again_and_again(
        &House::with(&[("breaks.yaml", &breaks("webhook:hook"))]),
        12,
    );
}

#[test]
fn kills_on_postgresql_lose_no_alert_and_rename_none() {
    let house = House::with(&[("breaks.yaml", &breaks("webhook:hook"))]);
    house.use_postgres();
    kill_again_and_again(&house, 4);
}

/// Each round runs fail and the daemon dies at another moment: when the run has been accepted, when its end is on record,
/// when its message has been heard and not yet answered, and some time after that.
fn kill_again_and_again(house: &House, rounds: u64) {
    let consumer = Consumer::start(house);
    let configuration = consumer.webhook("hook", "slow/new", "secret = { env = \"NEW\" }");
    house.configure(&format!(
        "lease_seconds = 3\n{}{configuration}",
        house.read("dalsegno.toml")
    ));
    let mut runs = BTreeSet::new();
    for round in 0..rounds {
        let daemon = house.up_in(&[("NEW", NEW)]);
        let before = consumer.heard().len();
        let ids: Vec<String> = (0..3)
            .map(|_| daemon.api().start("breaks", &json!({})))
            .collect();
        match round % 4 {
            0 => {}
            1 => {
                daemon.api().wait_for_run(&ids[0]);
            }
            2 => {
                consumer.until("a message is heard", |all| all.len() > before);
            }
            _ => {
                consumer.until("a message is heard", |all| all.len() > before);
                std::thread::park_timeout(std::time::Duration::from_millis(7 * round));
            }
        }
        runs.extend(ids);
        daemon.kill_nine();
    }
    let daemon = house.up_in(&[("NEW", NEW)]);
    for id in &runs {
        daemon.api().wait_for_run(id);
    }
    let told = |all: &[Value]| {
        let mut told: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for it in all {
            let text = |name: &str| it[name].as_str().expect("text").to_owned();
            let of = told.entry(it["alerts"][0]["run"].to_string()).or_default();
            of.insert((text("id"), text("body")));
        }
        told
    };
    let heard = consumer.until("each failed run is told", |all| {
        told(all).len() == runs.len()
    });
    for (run, messages) in told(&heard) {
        assert!(runs.contains(&run), "{run}");
        assert_eq!(
            messages.len(),
            1,
            "run {run} is told under two names or in two ways: {messages:?}"
        );
    }
    let all = daemon.api().list("/api/v1/deliveries?limit=200");
    assert_eq!(all.len(), runs.len(), "{all:?}");
    eventually("all of them are delivered", || {
        let all = daemon.api().list("/api/v1/deliveries?limit=200");
        all.iter()
            .all(|it| it["state"] == "delivered")
            .then_some(())
    });
}

#[test]
fn what_the_core_does_not_see_is_told_and_its_end_too() {
    let waits = "flow: waits\nsteps:\n  each:\n    foreach: [1, 2, 3, 4, 5]\n    steps:\n      \
                 wait: { run: \"test -e '{house}/free' || cat '{house}/gate'\" }\n";
    let house = House::with(&[("waits.yaml", waits)]);
    let gate = house.gate("gate");
    let consumer = Consumer::start(&house);
    house.configure(&format!(
        "max_tasks = 1\nqueue_long = 2\n{}[[alert_rules]]\non = [\"queue.long\", \"flow.invalid\"]\nto = \"hook\"\n",
        consumer.webhook("hook", "new", "secret = { env = \"NEW\" }")
    ));
    let daemon = house.up_in(&[("NEW", NEW)]);
    let kinds = |all: &[Value]| -> Vec<(String, bool)> {
        let alerts = all
            .iter()
            .flat_map(|it| it["alerts"].as_array().cloned().unwrap_or_default());
        alerts
            .map(|it| {
                (
                    it["kind"].as_str().unwrap_or_default().to_owned(),
                    it["is_recovery"] == true,
                )
            })
            .collect()
    };
    let has = |kind: &'static str, is_over: bool| {
        move |all: &[Value]| kinds(all).contains(&(kind.to_owned(), is_over))
    };
    let run = daemon.api().start("waits", &json!({}));
    consumer.until("a long queue", has("queue.long", false));
    std::fs::write(house.path("free"), "").expect("written");
    gate.open();
    daemon.api().wait_for_run(&run);
    consumer.until("a short one", has("queue.long", true));

    house.write_flow("waits.yaml", "flow: waits\nsteps: 7\n");
    consumer.until("a flow that is not valid", has("flow.invalid", false));
    house.write_flow("waits.yaml", waits);
    consumer.until("one that is again", has("flow.invalid", true));
    // Once each.
    assert_eq!(kinds(&consumer.heard()).len(), 4, "{:?}", consumer.heard());
}

#[test]
fn a_failure_that_is_over_within_its_hold_is_not_told_and_that_is_on_record() {
    let flow = breaks("webhook:hook").replace(
        "on: [run.failed, run.recovered]",
        "on: run.failed, hold: 10m",
    );
    let house = House::with(&[("breaks.yaml", &flow)]);
    let consumer = Consumer::start(&house);
    house.configure(&consumer.webhook("hook", "new", "secret = { env = \"NEW\" }"));
    let daemon = house.up_in(&[("NEW", NEW)]);
    daemon.fails("breaks", &json!({}));
    let state = |wanted: &str| {
        eventually(wanted, || {
            let all = daemon.api().list("/api/v1/deliveries");
            all.iter().any(|it| it["state"] == wanted).then_some(all)
        })
    };
    state("held");
    daemon.succeeds("breaks", &json!({"how": "true"}));
    let all = state("dropped");
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0]["reason"]
            .to_string()
            .contains("over before its rule's hold had passed"),
        "{all:?}"
    );
    assert_eq!(consumer.heard().len(), 0);
}

#[test]
fn a_breaker_that_opens_is_told_once_over_restarts_and_so_is_its_end() {
    let house = House::with(&[("breaks.yaml", &breaks("webhook:hook"))]);
    let consumer = Consumer::start(&house);
    house.configure(&format!(
        "[aws]\nregion = \"us-east-1\"\nendpoint = \"{}\"\ns3 = \"s3://nothing/here\"\nqueues = [\"none\"]\n{}\
         [[alert_rules]]\non = [\"breaker.*\"]\nto = \"hook\"\n",
        std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator"),
        consumer.webhook("hook", "new", "secret = { env = \"NEW\" }")
    ));
    let mut variables = Aws::variables().to_vec();
    variables.push(("NEW", NEW));
    let told = |all: &[Value]| -> Vec<(String, String)> {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let alerts = all.iter().map(|it| &it["alerts"][0]);
        alerts
            .map(|it| (text(&it["kind"]), text(&it["key"])))
            .collect()
    };
    let opened = ("breaker.opened".to_owned(), "breaker:logs".to_owned());
    let closed = ("breaker.closed".to_owned(), "breaker:logs".to_owned());
    let mut daemon = house.up_in(&variables);
    daemon
        .api()
        .post("/api/v1/breakers/logs/open", &json!({}))
        .expect(200);
    consumer.until("it is open", |all| told(all).contains(&opened));
    daemon.kill_nine();
    daemon = house.up_in(&variables);
    daemon
        .api()
        .post("/api/v1/breakers/logs/auto", &json!({}))
        .expect(200);
    consumer.until("it is closed", |all| told(all).contains(&closed));
    assert_eq!(told(&consumer.heard()), [opened, closed]);
    let said = daemon.cli(&["alerts"]).succeeded().all();
    assert!(
        said.contains("the circuit breaker of logs is open: it was opened by hand"),
        "{said}"
    );
}

#[test]
fn a_rule_that_leads_nowhere_is_refused_with_the_cure() {
    let house = House::with(&[("breaks.yaml", &breaks("webhook:hoook"))]);
    let channel = "[channels.hook]\ntype = \"webhook\"\nurl = \"https://example.com/\"\nsecret = { env = \"NEW\" }\n";
    house.configure(channel);
    let expected = "rule 1: there is no channel `webhook:hoook`; there are webhook:hook";
    house
        .dalsegno(&["check"])
        .failed(1, &[expected, "[channels.hoook]"]);
    let daemon = house.up_in(&[("NEW", NEW)]);
    let flow = daemon.api().get("/api/v1/flows/breaks").json();
    assert!(
        flow["invalid"].to_string().contains("there is no channel"),
        "{flow}"
    );
    drop(daemon);
    house.configure(&format!(
        "{channel}[[alert_rules]]\non = [\"*\"]\nto = \"hoook\"\n"
    ));
    let mut command = house.up_command();
    let said = house.run(command.env("NEW", NEW)).all();
    assert!(
        said.contains("[[alert_rules]] 1: there is no channel `hoook`; there are hook"),
        "{said}"
    );
}

#[test]
fn a_topic_of_sns_hears_it_with_attributes_to_filter_by() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let topic = aws.topic_to(&queue, false);
    let house = House::with(&[("breaks.yaml", &breaks("sns:topic"))]);
    house.configure(&format!(
        "[channels.topic]\ntype = \"sns\"\ntopic = \"{topic}\"\nendpoint = \"{}\"\n",
        std::env::var("DALSEGNO_TEST_AWS_URL").expect("an emulator")
    ));
    let daemon = house.up_in(&Aws::variables());
    daemon.fails("breaks", &json!({}));
    let message = aws.message(&queue);
    let envelope: Value =
        serde_json::from_str(message["Body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(envelope["MessageAttributes"]["kind"]["Value"], "run.failed");
    let subject = envelope["Subject"].as_str().expect("a subject");
    assert!(subject.starts_with("breaks failed in run"), "{subject}");
    let event: Value =
        serde_json::from_str(envelope["Message"].as_str().expect("a message")).expect("JSON");
    assert_eq!(
        (&event["id"], &event["specversion"]),
        (&json!("msg_1_topic"), &json!("1.0"))
    );
}

#[test]
fn a_message_of_a_queue_that_is_no_event_is_told_once() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let house = House::with(&[("breaks.yaml", &breaks("owner"))]);
    let consumer = Consumer::start(&house);
    house.configure(&format!(
        "{}[[alert_rules]]\non = [\"dead_letter\"]\nto = \"hook\"\n[owners]\ndata-eng = \"hook\"\n\
         [[queues]]\nname = \"{}\"\nurl = \"{}\"\nregion = \"us-east-1\"\n",
        consumer.webhook("hook", "new", "secret = { env = \"NEW\" }"),
        queue.name,
        queue.url
    ));
    let mut variables = Aws::variables().to_vec();
    variables.push(("NEW", NEW));
    let daemon = house.up_in(&variables);
    aws.send(&queue, "no event");
    let heard = consumer.until("the dead letter", |all| !all.is_empty());
    let alert = &heard[0]["alerts"][0];
    assert_eq!(
        (&alert["kind"], &alert["data"]["source"]),
        (
            &json!("dead_letter"),
            &json!(format!("queue:{}", queue.name))
        )
    );
    // By owner.
    daemon.fails("breaks", &json!({}));
    consumer.until("the failed run", |all| {
        all.iter()
            .any(|it| it["type"] == "dalsegno.alert.run.failed")
    });
}

#[test]
fn an_endpoint_that_is_gone_is_left_alone_until_a_person_says_so() {
    let house = House::with(&[("breaks.yaml", &breaks("webhook:hook"))]);
    let consumer = Consumer::start(&house);
    house.configure(&consumer.webhook("hook", "gone/new", "secret = { env = \"NEW\" }"));
    let daemon = house.up_in(&[("NEW", NEW)]);
    daemon.fails("breaks", &json!({}));
    let stopped = |daemon: &Daemon| {
        eventually("the channel is stopped", || {
            let all = daemon.api().list("/api/v1/channels");
            all[0]["stopped_at"].is_string().then_some(())
        });
    };
    stopped(&daemon);
    daemon.fails("breaks", &json!({}));
    daemon.kill_nine();
    house.configure(&consumer.webhook("hook", "new", "secret = { env = \"NEW\" }"));
    let daemon = house.up_in(&[("NEW", NEW)]);
    stopped(&daemon);
    assert_eq!(consumer.heard().len(), 1);
    daemon.cli(&["alerts", "enable", "hook"]).succeeded();
    consumer.until("both arrive", |all| {
        ["msg_1_hook", "msg_2_hook"]
            .iter()
            .all(|id| all.iter().any(|it| it["id"] == *id && it["path"] == "/new"))
    });
}

#[test]
fn only_the_instance_that_decides_tells_and_the_next_one_goes_on() {
    let flow = breaks("webhook:hook");
    let (first, second) = (
        House::with(&[("breaks.yaml", &flow)]),
        House::with(&[("breaks.yaml", &flow)]),
    );
    first.use_postgres();
    let consumer = Consumer::start(&first);
    let channel = consumer.webhook("hook", "new", "secret = { env = \"NEW\" }");
    let configuration = format!(
        "lease_seconds = 3\n{}{channel}",
        first.read("dalsegno.toml")
    );
    first.configure(&configuration);
    second.configure(&configuration);
    let leader = first.up_in(&[("NEW", NEW)]);
    let follower = second.up_in(&[("NEW", NEW)]);
    leader.fails("breaks", &json!({}));
    let delivered = |daemon: &Daemon, count: usize| {
        eventually("it is delivered", || {
            let all = daemon.api().list("/api/v1/deliveries?state=delivered");
            (all.len() == count).then_some(())
        });
    };
    delivered(&leader, 1);
    leader.kill_nine();
    let started = eventually("the follower takes over", || {
        let answer = follower.api().try_start("breaks", &json!({}), Some("once"));
        ((200..300).contains(&answer.status)).then_some(answer)
    });
    follower
        .api()
        .wait_for_run(&dalsegno_tests::run_id(&started));
    delivered(&follower, 2);
    let ids: Vec<_> = consumer.heard().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, ["msg_1_hook", "msg_2_hook"]);
}

#[test]
fn the_page_shows_who_is_told_and_its_buttons_are_not_for_other_sites() {
    let house = House::with(&[("breaks.yaml", &breaks("webhook:hook"))]);
    let consumer = Consumer::start(&house);
    let channel = consumer.webhook("hook", "new", "secret = { env = \"NEW\" }");
    house.configure(&format!(
        "{channel}[[alert_rules]]\non = [\"task.retried\"]\nto = \"hook\"\nretries = 3\n"
    ));
    let daemon = house.up_in(&[("NEW", NEW)]);
    daemon.fails("breaks", &json!({}));
    consumer.until("the alert", |all| !all.is_empty());
    let api = daemon.api();
    let page = eventually("its attempt on the page", || {
        let page = api.get_page("/alerts").expect(200).text;
        page.contains("1 attempt").then_some(page)
    });
    for text in [
        "msg_1_hook",
        "it answers 204",
        "breaks failed in run 1",
        "task.retried (from 3 retries on)",
        "webhook:hook",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    assert!(
        !page.contains("whsec_") && !page.contains("/new"),
        "no secret, no path"
    );
    let form = ("content-type", "application/x-www-form-urlencoded");
    let here = ("sec-fetch-site", "same-origin");
    for path in [
        "/alerts/channels/hook/test",
        "/alerts/channels/hook/enable",
        "/alerts/deliveries/msg_1_hook/replay",
    ] {
        api.post_with(path, &[form, ("sec-fetch-site", "cross-site")], b"")
            .expect(403);
    }
    assert_eq!(consumer.heard().len(), 1);
    let tested = api
        .post_with("/alerts/channels/hook/test", &[form, here], b"")
        .expect(200)
        .text;
    assert!(tested.contains("Delivered"), "{tested}");
    api.post_with("/alerts/deliveries/msg_1_hook/replay", &[form, here], b"");
    consumer.until("it comes again", |all| {
        all.iter().filter(|it| it["id"] == "msg_1_hook").count() == 2
    });
}

/// Consumers with the official libraries; they end with this value.
struct Consumer {
    child: Child,
    heard: std::path::PathBuf,
    http: String,
    https: String,
    smtp: String,
}

impl Consumer {
    fn start(house: &House) -> Self {
        let heard = house.path("heard");
        let python = std::env::var_os("DALSEGNO_TEST_PYTHON").expect(
            "DALSEGNO_TEST_PYTHON names a Python with tests/requirements.txt; run `cargo xtask test`, which makes one",
        );
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/client/alerts.py"))
            .args([&heard, &house.path("authority.pem")])
            .args([format!("new={NEW}"), format!("old={OLD}")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut ports = String::new();
        let said = child.stdout.take().expect("stdout is piped");
        BufReader::new(said).read_line(&mut ports).expect("a line");
        let ports: Vec<&str> = ports.split_whitespace().collect();
        let [http, https, smtp] = ports[..] else {
            panic!("it says its three ports, not {ports:?}")
        };
        Self {
            http: http.to_owned(),
            https: https.to_owned(),
            smtp: smtp.to_owned(),
            child,
            heard,
        }
    }

    /// A channel that leads here.
    fn webhook(&self, name: &str, path: &str, secret: &str) -> String {
        format!(
            "[channels.{name}]\ntype = \"webhook\"\nurl = \"http://localhost:{}/{path}\"\n{secret}\nallow_private = true\n",
            self.http
        )
    }

    fn mail(&self, name: &str) -> String {
        format!(
            "[channels.{name}]\ntype = \"email\"\nhost = \"localhost\"\nport = {}\nfrom = \"dalsegno@example.com\"\n\
             to = [\"ops@example.com\"]\nca_file = \"authority.pem\"\nallow_private = true\n",
            self.smtp
        )
    }

    /// All that came so far.
    fn heard(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.heard).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|it| serde_json::from_str(it).expect("JSON"))
            .collect()
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually(what, || Some(self.heard()).filter(|it| is_so(it)))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
