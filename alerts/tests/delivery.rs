//! From alerts to what servers receive, whatever they do.

mod house;

use async_trait::async_trait;
use dalsegno_alerts::{Alert, Resolve, Verdict};
use dalsegno_scheduler::Span;
use dalsegno_store::{DeliveryState, Durability, MemoryStore, SqliteStore, Store as _};
use house::{House, Manner, Server, alert, eventually, recovery, webhook};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const OK: Manner = Manner::Answers(204, "", "");

async fn open(server: &Server, rule: &str) -> House {
    let mut house = House::new(&webhook("ops", &server.url(), rule));
    house.open();
    house
}

#[tokio::test]
async fn an_alert_arrives_as_a_signed_cloud_event() {
    let server = Server::start(Manner::Answers(202, "", "thanks")).await;
    let mut house = open(&server, "").await;
    house.letters.put([alert(7, "run/etl")]);
    house.until("msg_7_ops", DeliveryState::Delivered).await;
    let received = server.received();
    let [one] = &received[..] else {
        panic!("one: {received:?}")
    };
    assert_eq!(one.id(), "msg_7_ops");
    assert_eq!(one.headers["content-type"], "application/cloudevents+json");
    let event = one.json();
    assert_eq!(event["type"], "dalsegno.alert.run.failed");
    assert_eq!(
        (&event["specversion"], &event["id"]),
        (&"1.0".into(), &"msg_7_ops".into())
    );
    assert_eq!(event["data"]["alerts"][0]["summary"], "etl run 7 failed");
    let log = house
        .store
        .delivery_attempts("msg_7_ops")
        .await
        .expect("answers");
    assert_eq!(
        (log[0].status, log[0].message.as_str()),
        (Some(202), "it answers 202: thanks")
    );
    house.close().await;
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_under_the_same_id_with_the_same_body() {
    let turns = vec![
        Manner::Answers(500, "", "oops"),
        Manner::Resets,
        Manner::Gibberish,
        OK,
    ];
    let server = Server::start(Manner::InTurn(turns)).await;
    let mut house = open(&server, "").await;
    house.letters.put([alert(1, "a")]);
    for (tries, wait) in [(1, 5), (2, 300), (3, 1_800)] {
        let row = house.until_tried("msg_1_ops", tries).await;
        let waits = (row.due_at - row.updated_at).as_secs_f64() / f64::from(wait);
        assert!(
            (0.89..1.11).contains(&waits),
            "after {tries} tries {waits} of {wait} s"
        );
        house.clock.forward(Span::from_secs(i64::from(wait) * 2));
        house.desk.enable("ops").await.expect("answers");
    }
    house.until("msg_1_ops", DeliveryState::Delivered).await;
    let received = server.received();
    assert!(
        received
            .iter()
            .all(|it| it.id() == "msg_1_ops" && it.body == received[0].body)
    );
    let log = house
        .store
        .delivery_attempts("msg_1_ops")
        .await
        .expect("answers");
    assert_eq!(log[0].message, "it answers 500: oops");
    assert!(log[1].message.contains("broke off"), "{}", log[1].message);
    assert!(log[2].message.contains("broke off"), "{}", log[2].message);
    house.close().await;
}

#[tokio::test]
async fn an_endpoint_that_fails_for_days_leaves_a_dead_letter_that_can_be_sent_again() {
    let mut turns = vec![Manner::Answers(503, "", ""); 10];
    turns.push(OK);
    let server = Server::start(Manner::InTurn(turns)).await;
    let mut house = open(&server, "").await;
    house.letters.put([alert(1, "a")]);
    for tries in 1..=10 {
        house.until_tried("msg_1_ops", tries).await;
        house.clock.forward(Span::from_secs(100_000));
        house.desk.enable("ops").await.expect("answers");
    }
    let dead = house.until("msg_1_ops", DeliveryState::Dead).await;
    assert_eq!(dead.reason, "given up after 10 tries: it answers 503");
    assert_eq!(house.letters.dead(), ["msg_1_ops"]);
    assert!(house.desk.replay("msg_1_ops").await.expect("answers"));
    house.until("msg_1_ops", DeliveryState::Delivered).await;
    assert_eq!(server.ids(), vec!["msg_1_ops"; 11]);
    house.close().await;
}

#[tokio::test]
async fn an_endpoint_that_asks_for_patience_gets_it() {
    let server = Server::start(Manner::InTurn(vec![
        Manner::Answers(429, "retry-after: 120\r\n", ""),
        OK,
    ]))
    .await;
    let mut house = open(&server, "group = \"none\"").await;
    house.letters.put([alert(1, "a")]);
    let row = house.until_tried("msg_1_ops", 1).await;
    assert_eq!(row.due_at - row.updated_at, Span::from_secs(120));
    // Others of the channel wait too.
    house.letters.put([alert(2, "b")]);
    house.until("msg_2_ops", DeliveryState::Waiting).await;
    house.clock.forward(Span::from_secs(121));
    house.desk.enable("ops").await.expect("answers");
    house.until("msg_2_ops", DeliveryState::Delivered).await;
    house.until("msg_1_ops", DeliveryState::Delivered).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_endpoint_that_is_gone_stops_its_channel_until_a_person_says_so() {
    let server = Server::start(Manner::InTurn(vec![
        Manner::Answers(410, "", "moved away"),
        OK,
    ]))
    .await;
    // On disk an answer of the database takes its time.
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("state.db"), Durability::Full).await;
    let store = store.expect("opens");
    store.migrate().await.expect("migrates");
    let text = webhook("ops", &server.url(), "");
    let mut house = House::with(&text, Arc::new(store), Arc::new(dalsegno_alerts::System));
    house.open();
    house.letters.put([alert(1, "a")]);
    house.until_tried("msg_1_ops", 1).await;
    let channel = &house.desk.channels().await.expect("answers")[0];
    let stopped = channel.stopped.as_ref().expect("stopped");
    assert!(
        stopped.reason.contains("410: moved away"),
        "{}",
        stopped.reason
    );
    house.letters.put([alert(2, "b")]);
    house.until("msg_2_ops", DeliveryState::Waiting).await;
    // It stays stopped over restarts, also while they happen: nothing has gone out when all that is routed is routed.
    for alert_id in 3..=8 {
        house.close().await;
        house.open();
        house
            .letters
            .put([alert(alert_id, &format!("key/{alert_id}"))]);
        let id = format!("msg_{alert_id}_ops");
        house.until(&id, DeliveryState::Waiting).await;
    }
    assert_eq!(server.ids(), ["msg_1_ops"]);
    assert!(house.desk.enable("ops").await.expect("answers"));
    house.until("msg_1_ops", DeliveryState::Delivered).await;
    eventually("the second arrives", async || {
        house.all().await.iter().all(|it| !it.state.is_pending())
    })
    .await;
    house.close().await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let secret = Server::start(OK).await;
    let to: &'static str = Box::leak(format!("location: {}\r\n", secret.url()).into_boxed_str());
    let server = Server::start(Manner::Answers(307, to, "")).await;
    let mut house = open(&server, "").await;
    house.letters.put([alert(1, "a")]);
    let row = house.until_tried("msg_1_ops", 1).await;
    assert!(
        row.reason.contains("redirects are not followed"),
        "{}",
        row.reason
    );
    assert!(secret.received().is_empty());
    house.close().await;
}

#[tokio::test]
async fn an_answer_of_a_gigabyte_costs_nothing() {
    let server = Server::start(Manner::Endless).await;
    let mut house = open(&server, "").await;
    house.letters.put([alert(1, "a")]);
    let row = house.until("msg_1_ops", DeliveryState::Delivered).await;
    let log = house
        .store
        .delivery_attempts("msg_1_ops")
        .await
        .expect("answers");
    assert!(log[0].message.len() < 400, "{}", log[0].message);
    assert_eq!(row.attempts, 1);
    house.close().await;
}

#[tokio::test]
async fn an_answer_that_stands_still_after_its_status_was_an_answer() {
    let server = Server::start(Manner::Stalls).await;
    let mut house = open(&server, "").await;
    house.letters.put([alert(1, "a")]);
    let row = house.until("msg_1_ops", DeliveryState::Delivered).await;
    assert_eq!((row.attempts, server.ids().len()), (1, 1));
    house.close().await;
}

/// The path of an address is often all that protects it.
#[tokio::test]
async fn an_endpoint_that_repeats_its_own_address_tells_it_to_nobody() {
    let echo = "Cannot POST /alerts";
    let moved = "location: https://example.com/alerts\r\n";
    for manner in [
        Manner::Answers(404, "", echo),
        Manner::Answers(301, moved, ""),
        Manner::Answers(302, "location: /alerts\r\n", ""),
    ] {
        let server = Server::start(manner).await;
        let mut house = open(&server, "").await;
        house.letters.put([alert(1, "a")]);
        let row = house.until_tried("msg_1_ops", 1).await;
        assert!(!row.reason.contains("alerts"), "{}", row.reason);
        let log = house.store.delivery_attempts("msg_1_ops").await;
        let log = log.expect("answers");
        assert!(!log[0].message.contains("alerts"), "{}", log[0].message);
        house.close().await;
    }
}

#[tokio::test]
async fn whatever_an_endpoint_does_instead_of_answering_is_a_failure_with_a_reason() {
    for (manner, words) in [
        (Manner::Hangs, "did not answer within 0.7 s"),
        (Manner::Drips, "did not answer within 0.7 s"),
        (Manner::EndlessHeader, "broke off"),
        (Manner::Resets, "broke off"),
        (Manner::Gibberish, "broke off"),
    ] {
        let server = Server::start(manner.clone()).await;
        let house = House::new(&webhook("ops", &server.url(), ""));
        let tested = house.desk.test("ops").await.expect("a channel");
        let said = &tested.attempted.message;
        assert!(said.contains(words), "{manner:?}: {said}");
        assert!(matches!(
            tested.attempted.verdict,
            Verdict::Later { is_ill: true, .. }
        ));
    }
    let house = House::new(&webhook("ops", "http://127.0.0.1:1/", ""));
    let tested = house.desk.test("ops").await.expect("a channel");
    assert!(tested.attempted.message.contains("cannot be connected to"));
    assert!(house.desk.test("gone").await.is_none());
}

/// Says another address each time it is asked.
struct Rebinding(AtomicUsize);

#[async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let text = match (host, self.0.fetch_add(1, Ordering::SeqCst)) {
            ("rebound.example", 0) => "198.51.100.1",
            ("mixed.example", _) => {
                return Ok(vec![
                    "127.0.0.1".parse().expect("one"),
                    "::1".parse().expect("one"),
                ]);
            }
            ("mapped.example", _) => "::ffff:127.0.0.1",
            ("translated.example", _) => "64:ff9b::7f00:1",
            ("metadata.example", _) => "169.254.169.254",
            ("gone.example", _) => return Err(io::Error::other("no such name")),
            _ => "127.0.0.1",
        };
        Ok(vec![text.parse().expect("an address")])
    }
}

#[tokio::test]
async fn no_name_leads_into_the_house_unless_the_channel_allows_it() {
    let server = Server::start(OK).await;
    for host in [
        "rebound.example",
        "mixed.example",
        "mapped.example",
        "translated.example",
        "metadata.example",
    ] {
        let url = format!("http://{host}:{}/", server.port);
        let refused = webhook("ops", &url, "").replace("allow_private = true\n", "");
        let resolver = Arc::new(Rebinding(AtomicUsize::new(0)));
        let house = House::with(&refused, Arc::new(MemoryStore::new()), resolver);
        for _ in 0..2 {
            let tested = house.desk.test("ops").await.expect("a channel");
            let said = &tested.attempted.message;
            assert!(said.contains("allow_private"), "{host}: {said}");
        }
    }
    assert!(server.received().is_empty());
    let url = format!("http://inside.example:{}/", server.port);
    let resolver = Arc::new(Rebinding(AtomicUsize::new(0)));
    let house = House::with(
        &webhook("ops", &url, ""),
        Arc::new(MemoryStore::new()),
        resolver,
    );
    let tested = house.desk.test("ops").await.expect("a channel");
    assert_eq!(tested.attempted.verdict, Verdict::Delivered);
    assert!(server.received()[0].headers["host"].starts_with("inside.example:"));
}

#[tokio::test]
async fn what_is_over_within_its_hold_is_not_told_and_what_is_not_is() {
    let server = Server::start(OK).await;
    let mut house = open(&server, "hold = \"2m\"\ngroup = \"none\"").await;
    house.letters.put([alert(1, "a"), alert(2, "b")]);
    let held = house.until("msg_1_ops", DeliveryState::Held).await;
    assert!(
        held.reason.contains("its rule holds it for"),
        "{}",
        held.reason
    );
    house.letters.put([recovery(3, "a")]);
    let dropped = house.until("msg_1_ops", DeliveryState::Dropped).await;
    assert_eq!(
        dropped.reason,
        "it was over before its rule's hold had passed"
    );
    let dropped = house.until("msg_3_ops", DeliveryState::Dropped).await;
    assert!(dropped.reason.contains("never told"), "{}", dropped.reason);
    assert!(server.received().is_empty());
    house.clock.forward(Span::from_mins(3));
    house.desk.enable("ops").await.expect("answers");
    house.until("msg_2_ops", DeliveryState::Delivered).await;
    house.letters.put([recovery(4, "b")]);
    house.until("msg_4_ops", DeliveryState::Delivered).await;
    assert_eq!(server.ids(), ["msg_2_ops", "msg_4_ops"]);
    house.close().await;
}

#[tokio::test]
async fn a_hold_is_over_with_its_matter_though_the_rule_names_no_recoveries() {
    let server = Server::start(OK).await;
    let text = webhook("ops", &server.url(), "hold = \"2m\"\ngroup = \"none\"");
    let mut house = House::new(&text.replace("\"*\"", "\"run.failed\""));
    house.open();
    house.letters.put([alert(1, "a"), alert(2, "b")]);
    house.until("msg_2_ops", DeliveryState::Held).await;
    let recovered = Alert {
        kind: "run.recovered".into(),
        ..recovery(3, "a")
    };
    house.letters.put([recovered]);
    let dropped = house.until("msg_1_ops", DeliveryState::Dropped).await;
    assert!(dropped.reason.contains("over before"), "{}", dropped.reason);
    house.clock.forward(Span::from_mins(3));
    house.desk.enable("ops").await.expect("answers");
    house.until("msg_2_ops", DeliveryState::Delivered).await;
    assert_eq!(server.ids(), ["msg_2_ops"]);
    house.close().await;
}

#[tokio::test]
async fn one_matter_is_told_in_its_order_and_others_do_not_wait_for_it() {
    let server = Server::start(Manner::InTurn(vec![Manner::Answers(500, "", ""), OK])).await;
    let mut house = open(&server, "group = \"none\"").await;
    house.letters.put([alert(1, "a")]);
    house.until_tried("msg_1_ops", 1).await;
    house.letters.put([recovery(2, "a"), alert(3, "b")]);
    house.until("msg_3_ops", DeliveryState::Delivered).await;
    assert_eq!(house.state("msg_2_ops").await, Some(DeliveryState::Waiting));
    house.clock.forward(Span::from_secs(10));
    house.desk.enable("ops").await.expect("answers");
    house.until("msg_2_ops", DeliveryState::Delivered).await;
    assert_eq!(
        server.ids(),
        ["msg_1_ops", "msg_3_ops", "msg_1_ops", "msg_2_ops"]
    );
    house.close().await;
}

#[tokio::test]
async fn what_waits_together_is_one_message_and_each_alert_in_it_is_accounted_for() {
    let server = Server::start(OK).await;
    let mut house = open(&server, "group = \"flow\"\nhold = \"1m\"").await;
    house
        .letters
        .put((1..=40).map(|id| alert(id, &format!("run/{id}"))));
    house.until("msg_40_ops", DeliveryState::Held).await;
    house.clock.forward(Span::from_mins(2));
    house.desk.enable("ops").await.expect("answers");
    let told = house.until("msg_40_ops", DeliveryState::Grouped).await;
    house.until(&told.told_with, DeliveryState::Delivered).await;
    let received = server.received();
    assert_eq!(received.len(), 1);
    let event = received[0].json();
    assert_eq!(
        event["data"]["alerts"].as_array().expect("alerts").len(),
        40
    );
    assert_eq!(event["data"]["summary"], "40 alerts: etl run 1 failed");
    house.close().await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_alone_after_a_while_and_others_do_not_notice() {
    let (well, ill) = (Server::start(OK).await, Server::start(Manner::Hangs).await);
    let text = webhook("ops", &well.url(), "group = \"none\"")
        + &webhook("ill", &ill.url(), "group = \"none\"");
    let mut house = House::new(&text);
    house.open();
    house
        .letters
        .put((1..=50).map(|id| alert(id, &format!("run/{id}"))));
    eventually("all arrive where somebody listens", async || {
        well.received().len() == 50
    })
    .await;
    eventually("the other is left alone", async || {
        let channels = house.desk.channels().await.expect("answers");
        channels
            .iter()
            .any(|it| it.name == "ill" && it.breaker == "open")
    })
    .await;
    assert!(ill.received().len() < 10, "{}", ill.received().len());
    house.close().await;
}

#[tokio::test]
async fn dying_between_any_two_steps_loses_and_renames_nothing() {
    // Each round dies at another moment: before routing, between routing and sending, while the endpoint thinks, between its
    // answer and the record, and after that.
    let store = Arc::new(MemoryStore::new());
    let server = Server::start(OK).await;
    let text = webhook("ops", &server.url(), "group = \"none\"");
    let mut house = House::with(&text, store, Arc::new(dalsegno_alerts::System));
    const ALERTS: u64 = 60;
    for round in 1..=ALERTS {
        house
            .letters
            .put([alert(round, &format!("run/{}", round % 7))]);
        house.open();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let moment = std::time::Duration::from_micros(round * 97);
        let _ = tokio::time::timeout(moment, std::future::pending::<()>()).await;
        house.kill().await;
    }
    house.open();
    eventually("all is delivered", async || {
        let all = house.all().await;
        all.len() == ALERTS as usize && all.iter().all(|it| it.state == DeliveryState::Delivered)
    })
    .await;
    house.close().await;
    let received = server.received();
    for round in 1..=ALERTS {
        let id = format!("msg_{round}_ops");
        let of: Vec<_> = received.iter().filter(|it| it.id() == id).collect();
        assert!(!of.is_empty(), "{id} was lost");
        assert!(
            of.iter().all(|it| it.body == of[0].body),
            "{id} tells two things"
        );
        assert_eq!(of[0].json()["data"]["alerts"][0]["id"], round);
    }
    let first = |id: u64| {
        received
            .iter()
            .position(|it| it.id() == format!("msg_{id}_ops"))
    };
    for round in 8..=ALERTS {
        assert!(
            first(round - 7) < first(round),
            "matter {} out of order",
            round % 7
        );
    }
}
