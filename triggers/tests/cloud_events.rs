//! What the route takes for an event, and what it says of everything else.

use axum::http::{HeaderMap, HeaderName};
use dalsegno_triggers::parse;

/// Headers as `name: value` lines, then the body; out comes the event or the problem, in short.
fn told(headers: &str, body: &str) -> String {
    let pairs = headers.lines().map(|line| {
        let (name, value) = line.trim().split_once(": ").expect("a header line");
        let name: HeaderName = name.parse().expect("a header name");
        (name, value.parse().expect("a header value"))
    });
    let headers: HeaderMap = pairs.collect();
    match parse(&headers, body.as_bytes()) {
        Ok(events) => {
            let events = events.iter().map(|it| {
                let subject = it.subject.as_deref().unwrap_or("-");
                let time = it.time.map_or_else(|| "-".into(), |it| it.to_string());
                format!(
                    "{} {} {} {subject} {time} {}",
                    it.source, it.id, it.kind, it.data
                )
            });
            events.collect::<Vec<_>>().join("\n")
        }
        Err(problem) => format!(
            "{} {}: {}",
            problem.status,
            problem.code.as_str(),
            problem.detail
        ),
    }
}

const STRUCTURED: &str = "content-type: application/cloudevents+json; charset=utf-8";
const BATCH: &str = "content-type: application/cloudevents-batch+json";

#[test]
fn a_structured_event_is_taken_with_all_its_attributes() {
    let body = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"orders.corrected","subject":"eu",
        "time":"2026-11-22T07:00:00+01:00","datacontenttype":"application/json","tenant":"a","data":{"day":"2026-11-21"}}"#;
    assert_eq!(
        told(STRUCTURED, body),
        r#"/shop 7 orders.corrected eu 2026-11-22T06:00:00Z {"day":"2026-11-21"}"#
    );
}

#[test]
fn plain_json_counts_as_structured_when_it_names_the_specification() {
    let kind = "content-type: application/json";
    let event = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"t"}"#;
    assert_eq!(told(kind, event), "/shop 7 t - - null");
    assert_eq!(told(kind, &format!("[{event}]")), "/shop 7 t - - null");
    assert_eq!(
        told(kind, r#"{"id":"7","source":"/shop","type":"t"}"#),
        "400 bad_event: `specversion` is missing; it must be \"1.0\""
    );
}

#[test]
fn a_binary_event_has_attributes_in_headers_and_data_as_body() {
    let headers = "content-type: application/json\nce-specversion: 1.0\nce-id: 7\nce-source: /shop\nce-type: t\nce-subject: K%C3%B6ln 100%";
    assert_eq!(
        told(headers, r#"{"a":1}"#),
        r#"/shop 7 t Köln 100% - {"a":1}"#
    );
    assert_eq!(told(headers, ""), "/shop 7 t Köln 100% - null");
    let text = headers.replace("application/json", "text/plain");
    assert_eq!(told(&text, "hello"), r#"/shop 7 t Köln 100% - "hello""#);
    let bytes = headers.replace("application/json", "image/png");
    assert_eq!(told(&bytes, "foo"), r#"/shop 7 t Köln 100% - "Zm9v""#);
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let good = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"t"}"#;
    let two = format!("[{good},{}]", good.replace('7', "8"));
    assert_eq!(told(BATCH, &two), "/shop 7 t - - null\n/shop 8 t - - null");
    assert_eq!(told(BATCH, "[]"), "");
    let bad = format!(r#"[{good},{{"specversion":"1.0","id":"8","source":"/shop"}}]"#);
    assert_eq!(
        told(BATCH, &bad),
        "400 bad_event: event 1 of the batch: `type` is missing; it must be what happened, such as orders.corrected"
    );
    assert_eq!(
        told(BATCH, good),
        "400 bad_event: a batch is a JSON array of events; for one event use application/cloudevents+json"
    );
}

#[test]
fn each_wrong_attribute_is_named_with_the_cure() {
    let with = |more: &str| {
        let event =
            format!(r#"{{"specversion":"1.0","id":"7","source":"/shop","type":"t",{more}}}"#);
        told(STRUCTURED, &event)
    };
    let table = [
        with(r#""specversion":"0.3""#),
        with(r#""id":"""#),
        with(r#""id":7"#),
        with(r#""source":"a b""#),
        with(r#""type":null"#),
        with(r#""time":"yesterday""#),
        with(r#""subject":"a\u0000""#),
        with(r#""data":1,"data_base64":"Zg==""#),
        with(r#""data_base64":"%%%""#),
        with(r#""myData":1"#),
        with(r#""extension":{"a":1}"#),
        told(STRUCTURED, "[]"),
        told(STRUCTURED, "{"),
        told("content-type: application/xml", "<a/>"),
        told("content-type: application/cloudevents+avro", ""),
        told("accept: */*", "{}"),
        told("ce-id: 7", "{}"),
    ];
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn data_that_is_too_large_is_refused_before_anything_is_taken() {
    let data = "x".repeat(300 * 1024);
    let event =
        format!(r#"{{"specversion":"1.0","id":"7","source":"/shop","type":"t","data":"{data}"}}"#);
    assert_eq!(
        told(STRUCTURED, &event),
        "413 body_too_large: the data of event `7` is larger than 262144 bytes; send a reference to it"
    );
}
