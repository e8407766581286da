//! What a message says.

use crate::cloud_event;
use crate::eventbridge;
use crate::mapping::{Defaults, Mapping};
use crate::object::{Arrival, decode_key};
use aws_lambda_events::s3::{S3Event, S3EventRecord};
use dalsegno_scheduler::expr::Scope;
use dalsegno_scheduler::{KEY_BYTES_MAX, NewEvent, Timestamp};
use serde_json::{Map, Value, json};

/// A message as far as its meaning goes.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub id: String,
    pub body: String,
    /// Its own attributes by name.
    pub attributes: Map<String, Value>,
    pub sent_at: Option<Timestamp>,
}

/// What a message says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// All of them are accepted before the message is deleted.
    pub events: Vec<NewEvent>,
    /// What in it is no event and was meant to be none, such as `s3:TestEvent`.
    pub passed_over: Vec<String>,
    /// What was odd and did no harm, such as a `when` that could not be evaluated.
    pub remarks: Vec<String>,
    /// What in it was meant to be an event and cannot be read. The rest of it counts; then the message is refused.
    pub bad: Vec<String>,
}

/// Reads a message of the queue `name`.
///
/// The first mapping with a `when` that is true takes it, whatever it is. Else it is read as what it is: an S3
/// notification, an event of EventBridge, a CloudEvent, each also in the envelope of SNS. Of all else the first mapping
/// without a `when` makes an event.
///
/// # Errors
/// Why it cannot be read as an event, and what to do.
pub fn read(name: &str, message: &Message, mappings: &[Mapping]) -> Result<Reading, String> {
    let (body, topic) = unwrapped(value(&message.body))?;
    let mut reading = Reading::default();
    let scope = scope(message, &body, topic);
    let defaults = Defaults {
        source: format!("queue:{name}"),
        id: message.id.clone(),
        time: message.sent_at,
        data: body.clone(),
    };
    for mapping in mappings.iter().filter(|it| it.is_conditional()) {
        match mapping.applies(&scope) {
            Ok(true) => {
                reading.events.push(mapping.event(&scope, defaults)?);
                return checked(reading);
            }
            Ok(false) => {}
            Err(error) => reading.remarks.push(error),
        }
    }
    if is_test_event(&body) {
        reading.passed_over.push("s3:TestEvent".into());
    } else if is_notification(&body) {
        notification(body, &mut reading)?;
    } else if eventbridge::is_one(&body) {
        reading.events.push(eventbridge::read(body)?);
    } else if body.get("specversion").is_some() {
        let event = cloud_event::structured(body)
            .map_err(|error| format!("it is not a valid CloudEvent: {error}"))?;
        reading.events.push(event);
    } else {
        let Some(mapping) = mappings.iter().find(|it| !it.is_conditional()) else {
            return Err(unknown(&body, &reading.remarks));
        };
        reading.events.push(mapping.event(&scope, defaults)?);
    }
    checked(reading)
}

fn unknown(body: &Value, remarks: &[String]) -> String {
    let what = match body {
        Value::String(_) => "it is not JSON",
        _ => "it is neither an S3 notification, an event of EventBridge nor a CloudEvent",
    };
    let remarks: String = remarks.iter().map(|it| format!("; {it}")).collect();
    format!(
        "{what}, and no mapping takes it; add a [[queues.mapping]] for it to dalsegno.toml{remarks}"
    )
}

/// JSON, or text.
fn value(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()))
}

/// Takes the envelope of SNS off. Gives the topic too.
fn unwrapped(mut body: Value) -> Result<(Value, Option<String>), String> {
    let is_envelope = body.get("TopicArn").is_some_and(Value::is_string);
    if !is_envelope {
        return Ok((body, None));
    }
    let topic = body["TopicArn"].as_str().unwrap_or_default().to_owned();
    let inner = body["Message"].take();
    match (body["Type"].as_str(), inner) {
        (Some("Notification"), Value::String(inner)) => Ok((value(&inner), Some(topic))),
        (Some("SubscriptionConfirmation"), _) => Err(format!(
            "topic {topic} asks whether this queue wants its messages; open the SubscribeURL in it, or confirm the \
             subscription in the console"
        )),
        (kind, _) => Err(format!(
            "it is a message of SNS of type `{}`, and only notifications carry events",
            kind.unwrap_or_default()
        )),
    }
}

/// What mappings see.
fn scope(message: &Message, body: &Value, topic: Option<String>) -> Scope {
    let message = json!({
        "body": body,
        "id": message.id,
        "attributes": message.attributes,
        "sent_at": message.sent_at.map(|it| it.to_string()),
        "topic": topic,
    });
    Scope::from([("message", message)])
}

/// S3 sends it once when notifications are configured.
fn is_test_event(body: &Value) -> bool {
    body["Event"] == "s3:TestEvent"
}

fn is_notification(body: &Value) -> bool {
    body["Records"]
        .as_array()
        .and_then(|it| it.first())
        .is_some_and(|it| it.get("s3").is_some())
}

fn notification(mut body: Value, reading: &mut Reading) -> Result<(), String> {
    for record in body["Records"].as_array_mut().into_iter().flatten() {
        complete(record);
    }
    let event: S3Event = serde_json::from_value(body)
        .map_err(|error| format!("it is not a notification as S3 sends it: {error}"))?;
    for record in event.records {
        let name = record.event_name.clone().unwrap_or_default();
        // Some that are not AWS put `s3:` before.
        match name.trim_start_matches("s3:").strip_prefix("ObjectCreated") {
            Some(how) => {
                let how = how.trim_start_matches(':').to_owned();
                match arrival(record, how).and_then(Arrival::event) {
                    Ok(event) => match fits(&event) {
                        Ok(()) => reading.events.push(event),
                        Err(reason) => reading.bad.push(reason),
                    },
                    Err(reason) => reading.bad.push(reason),
                }
            }
            None => reading.passed_over.push(name),
        }
    }
    Ok(())
}

/// Adds what S3 always sends and some that speak like it do not.
fn complete(record: &mut Value) {
    let Some(record) = record.as_object_mut() else {
        return;
    };
    for name in ["userIdentity", "requestParameters"] {
        record.entry(name).or_insert_with(|| json!({}));
    }
    if let Some(Value::String(time)) = record.get_mut("eventTime")
        && Timestamp::parse_rfc3339(time).is_none()
        && Timestamp::parse_rfc3339(&format!("{time}Z")).is_some()
    {
        time.push('Z');
    }
}

fn arrival(record: S3EventRecord, how: String) -> Result<Arrival, String> {
    let object = record.s3.object;
    Ok(Arrival {
        bucket: record.s3.bucket.name.unwrap_or_default(),
        key: decode_key(object.key.as_deref().unwrap_or_default())?,
        size: object.size,
        etag: object.e_tag,
        version: object.version_id.filter(|it| it != "null"),
        sequencer: object.sequencer,
        reason: Some(how).filter(|it| !it.is_empty()),
        time: Some(Timestamp::from_chrono(record.event_time)),
        path: None,
    })
}

/// Attributes that the store and its indexes can take.
fn checked(reading: Reading) -> Result<Reading, String> {
    if reading.events.is_empty() && !reading.bad.is_empty() {
        return Err(reading.bad.join("; "));
    }
    reading.events.iter().try_for_each(fits)?;
    Ok(reading)
}

fn fits(event: &NewEvent) -> Result<(), String> {
    let of = [
        ("source", event.source.as_str()),
        ("id", &event.id),
        ("type", &event.kind),
    ];
    for (name, text) in of {
        if text.trim().is_empty() {
            return Err(format!("the event's {name} is empty"));
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(format!(
                "the event's {name} is longer than {KEY_BYTES_MAX} bytes"
            ));
        }
        if text.contains(char::is_control) {
            return Err(format!("the event's {name} holds a control character"));
        }
    }
    if event.subject.as_ref().is_some_and(|it| it.contains('\0')) {
        return Err("the event's subject holds a character that no database keeps".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_that_cannot_be_read_does_not_keep_the_others_back() {
        let record = |key: &str| {
            json!({
                "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-central-1",
                "eventTime": "2026-11-22T06:00:00.000Z", "eventName": "ObjectCreated:Put",
                "responseElements": {}, "s3": {"bucket": {"name": "shop"}, "object": {"key": key, "size": 1}},
            })
        };
        let bad = "x".repeat(2_000);
        let body = json!({"Records": [record("a.csv"), record(&bad), record("b%FF.csv"), record("c.csv")]});
        let message = Message {
            body: body.to_string(),
            ..Message::default()
        };
        let reading = read("q", &message, &[]).expect("most of it can be read");
        let subjects: Vec<_> = reading.events.iter().map(|it| it.subject.clone()).collect();
        assert_eq!(
            subjects,
            [Some("a.csv".to_owned()), Some("c.csv".to_owned())]
        );
        assert_eq!(reading.bad.len(), 2, "{:?}", reading.bad);
    }
    use crate::mapping::MappingSpec;
    use dalsegno_scheduler::spec::OBJECT_CREATED;

    /// As S3 writes them.
    const NOTIFICATION: &str = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-central-1","eventTime":"2026-11-22T09:58:07.265Z","eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AWS:AIDAEXAMPLE"},"requestParameters":{"sourceIPAddress":"203.0.113.7"},"responseElements":{"x-amz-request-id":"C3D13FE58DE4C810","x-amz-id-2":"FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"},"s3":{"s3SchemaVersion":"1.0","configurationId":"arrivals","bucket":{"name":"shop-data","ownerIdentity":{"principalId":"A3NL1KOZZKExample"},"arn":"arn:aws:s3:::shop-data"},"object":{"key":"orders/dt%3D2026-11-22/a+b%2B%C3%BC.csv","size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e","versionId":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"}}}]}"#;

    const TEST_EVENT: &str = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-22T09:50:00.000Z","Bucket":"shop-data","RequestId":"5582815E1AEA5ADF","HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"}"#;

    const OBJECT_CREATED_BRIDGE: &str = r#"{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"Object Created","source":"aws.s3","account":"111122223333","time":"2026-11-22T09:58:07Z","region":"eu-central-1","resources":["arn:aws:s3:::shop-data"],"detail":{"version":"0","bucket":{"name":"shop-data"},"object":{"key":"orders/dt=2026-11-22/a b+ü%20.csv","size":5,"etag":"b1946ac92492d2347c6235b4d2611184","version-id":"IYV3p45BT0ac8hjHg1houSdS1a.Mro8e","sequencer":"617f08299329d189"},"request-id":"N4N7GDK58NMKJ12R","requester":"123456789012","source-ip-address":"1.2.3.4","reason":"PutObject"}}"#;

    const BATCH_STATE: &str = r#"{"version":"0","id":"c8f9c4b5-76e5-d76a-f980-7011e206042b","detail-type":"Batch Job State Change","source":"aws.batch","account":"123456789012","time":"2026-11-22T17:56:03Z","region":"us-east-1","resources":["arn:aws:batch:us-east-1:123456789012:job/4c7599ae"],"detail":{"jobName":"event-test","status":"RUNNABLE"}}"#;

    fn message(body: impl Into<String>) -> Message {
        Message {
            id: "m-1".into(),
            body: body.into(),
            ..Message::default()
        }
    }

    fn envelope(kind: &str, inner: &str) -> String {
        json!({
            "Type": kind, "MessageId": "22b80b92", "TopicArn": "arn:aws:sns:eu-central-1:1:arrivals",
            "Subject": "Amazon S3 Notification", "Message": inner, "Timestamp": "2026-11-22T09:58:08.000Z",
            "SignatureVersion": "1", "Signature": "EXAMPLE", "SigningCertURL": "https://sns.example/cert.pem",
            "UnsubscribeURL": "https://sns.example/off",
        })
        .to_string()
    }

    fn one(body: impl Into<String>) -> NewEvent {
        let mut reading = read("arrivals", &message(body), &[]).expect("readable");
        assert_eq!(reading.events.len(), 1, "{reading:?}");
        reading.events.remove(0)
    }

    fn refused(body: impl Into<String>) -> String {
        read("arrivals", &message(body), &[]).expect_err("not readable")
    }

    fn mapping(spec: Value) -> Mapping {
        let spec: MappingSpec = serde_json::from_value(spec).expect("a rule");
        Mapping::parse(&spec, &["message"]).expect("a valid rule")
    }

    #[test]
    fn a_notification_of_s3_is_an_arrival_with_its_key_decoded() {
        let event = one(NOTIFICATION);
        assert_eq!(event.kind, OBJECT_CREATED);
        assert_eq!(event.source, "s3://shop-data");
        assert_eq!(
            event.subject.as_deref(),
            Some("orders/dt=2026-11-22/a b+ü.csv")
        );
        assert_eq!(event.data["size"], 1024);
        assert_eq!(event.data["reason"], "Put");
        assert_eq!(event.data["sequencer"], "0055AED6DCD90281E5");
        assert_eq!(event.data["version"], "096fKKXTRTtl3on89fVO.nfljtsv6qko");
        assert_eq!(
            event.time.map(|it| it.to_string()).as_deref(),
            Some("2026-11-22T09:58:07.265Z")
        );
    }

    #[test]
    fn through_sns_it_is_the_same_event_raw_or_in_its_envelope() {
        assert_eq!(
            one(envelope("Notification", NOTIFICATION)),
            one(NOTIFICATION)
        );
        assert_eq!(one(envelope("Notification", BATCH_STATE)), one(BATCH_STATE));
    }

    #[test]
    fn through_eventbridge_keys_are_taken_as_they_are() {
        let event = one(OBJECT_CREATED_BRIDGE);
        assert_eq!(event.kind, OBJECT_CREATED);
        assert_eq!(
            event.subject.as_deref(),
            Some("orders/dt=2026-11-22/a b+ü%20.csv")
        );
        assert_eq!(event.data["reason"], "PutObject");
        assert_eq!(event.data["etag"], "b1946ac92492d2347c6235b4d2611184");
    }

    #[test]
    fn one_write_told_by_s3_and_by_eventbridge_is_one_event() {
        let direct = NOTIFICATION
            .replace("096fKKXTRTtl3on89fVO.nfljtsv6qko", "v1")
            .replace("orders/dt%3D2026-11-22/a+b%2B%C3%BC.csv", "a+b.csv");
        let bridge = OBJECT_CREATED_BRIDGE
            .replace("IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "v1")
            .replace("617f08299329d189", "0055AED6DCD90281E5")
            .replace("orders/dt=2026-11-22/a b+ü%20.csv", "a b.csv");
        let (direct, bridge) = (one(direct), one(bridge));
        assert_eq!((direct.source, direct.id), (bridge.source, bridge.id));
    }

    #[test]
    fn a_test_event_and_what_is_no_arrival_are_passed_over() {
        for body in [TEST_EVENT.to_owned(), envelope("Notification", TEST_EVENT)] {
            let reading = read("arrivals", &message(body), &[]).expect("readable");
            assert_eq!(reading.passed_over, ["s3:TestEvent"]);
            assert!(reading.events.is_empty());
        }
        let removed = NOTIFICATION.replace("ObjectCreated:Put", "ObjectRemoved:Delete");
        let reading = read("arrivals", &message(removed), &[]).expect("readable");
        assert_eq!(reading.passed_over, ["ObjectRemoved:Delete"]);
        assert!(reading.events.is_empty());
    }

    #[test]
    fn several_records_are_several_events() {
        let mut body: Value = serde_json::from_str(NOTIFICATION).expect("JSON");
        let record = body["Records"][0].clone();
        let mut second = record.clone();
        second["s3"]["object"]["key"] = json!("orders/b.csv");
        body["Records"] = json!([record, second]);
        let reading = read("arrivals", &message(body.to_string()), &[]).expect("readable");
        assert_eq!(reading.events.len(), 2);
        assert_ne!(reading.events[0].id, reading.events[1].id);
        body["Records"][1]["s3"]["object"]["key"] = json!("100%");
        let reading = read("arrivals", &message(body.to_string()), &[]).expect("one is readable");
        assert_eq!(reading.events.len(), 1);
        assert!(reading.bad[0].contains("not URL-encoded"), "{reading:?}");
    }

    #[test]
    fn what_speaks_almost_like_s3_is_understood() {
        // No zone in the time, `/` encoded, no sequencer, no version, no identities.
        let body = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1","eventTime":"2026-11-22T09:58:07.265000","eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","configurationId":"n","bucket":{"name":"shop-data","arn":"arn:aws:s3:::shop-data"},"object":{"key":"in%2Fa.csv","size":1,"eTag":"9dd4e461"}}}]}"#;
        let event = one(body);
        assert_eq!(event.subject.as_deref(), Some("in/a.csv"));
        assert_eq!(
            event.time.map(|it| it.to_string()).as_deref(),
            Some("2026-11-22T09:58:07.265Z")
        );
        // Told again it is the same, written again it is another.
        assert_eq!(one(body).id, event.id);
        assert_ne!(one(body.replace("9dd4e461", "0cc175b9")).id, event.id);
        let minio = NOTIFICATION.replace("ObjectCreated:Put", "s3:ObjectCreated:Put");
        assert_eq!(one(minio).kind, OBJECT_CREATED);
    }

    #[test]
    fn any_event_of_eventbridge_is_an_event_under_its_own_name() {
        let event = one(BATCH_STATE);
        assert_eq!(event.kind, "Batch-Job-State-Change");
        assert_eq!(event.source, "aws.batch");
        assert_eq!(event.id, "c8f9c4b5-76e5-d76a-f980-7011e206042b");
        assert_eq!(
            event.subject.as_deref(),
            Some("arn:aws:batch:us-east-1:123456789012:job/4c7599ae")
        );
        assert_eq!(event.data["status"], "RUNNABLE");
        let deleted = OBJECT_CREATED_BRIDGE.replace("Object Created", "Object Deleted");
        assert_eq!(one(deleted).kind, "Object-Deleted");
    }

    #[test]
    fn a_cloud_event_is_taken_as_it_is() {
        let event = one(
            r#"{"specversion":"1.0","id":"7","source":"/shop","type":"orders.ready","data":{"day":"monday"}}"#,
        );
        assert_eq!(
            (event.kind.as_str(), event.id.as_str()),
            ("orders.ready", "7")
        );
        let error = refused(r#"{"specversion":"1.0","source":"/shop","type":"orders.ready"}"#);
        assert!(
            error.contains("CloudEvent") && error.contains("`id`"),
            "{error}"
        );
    }

    #[test]
    fn a_mapping_makes_an_event_of_all_else() {
        let rule = mapping(json!({
            "type": "orders.ready", "id": "${{ message.body.order }}", "data": "${{ message.body }}",
        }));
        let read_with = |body: &str| read("arrivals", &message(body), std::slice::from_ref(&rule));
        let event = &read_with(r#"{"order": 17}"#).expect("readable").events[0];
        assert_eq!(
            (event.kind.as_str(), event.id.as_str()),
            ("orders.ready", "17")
        );
        assert_eq!(event.source, "queue:arrivals");
        assert_eq!(event.data, json!({"order": 17}));
        // What is known stays what it is.
        assert_eq!(
            read_with(NOTIFICATION).expect("readable").events[0].kind,
            OBJECT_CREATED
        );
        let error = read_with("order 17").expect_err("no order in it");
        assert!(error.contains("`id` of the mapping"), "{error}");
    }

    #[test]
    fn a_mapping_with_a_condition_comes_before_all_else() {
        let removed = NOTIFICATION.replace("ObjectCreated:Put", "ObjectRemoved:Delete");
        let rule = mapping(json!({
            "when": "message.body.Records[0].eventName.startsWith('ObjectRemoved')",
            "type": "object.removed", "subject": "${{ message.body.Records[0].s3.object.key }}",
        }));
        let rules = [rule];
        let reading = read("arrivals", &message(removed), &rules).expect("readable");
        assert_eq!(reading.events[0].kind, "object.removed");
        // Where it cannot be evaluated it does not count, and that is told.
        let reading = read("arrivals", &message(BATCH_STATE), &rules).expect("readable");
        assert_eq!(reading.events[0].source, "aws.batch");
        assert_eq!(reading.remarks.len(), 1);
        let error = read("arrivals", &message("{}"), &rules).expect_err("nothing takes it");
        assert!(error.contains("`when` of a mapping"), "{error}");
    }

    #[test]
    fn what_cannot_be_an_event_is_refused_with_the_reason() {
        for (body, words) in [
            ("hello".to_owned(), "not JSON"),
            ("{}".to_owned(), "[[queues.mapping]]"),
            ("[1]".to_owned(), "neither an S3 notification"),
            (r#"{"Records":[]}"#.to_owned(), "neither an S3 notification"),
            (
                NOTIFICATION.replace("\"eventTime\":\"2026", "\"eventTime\":\"soon"),
                "as S3 sends it",
            ),
            (NOTIFICATION.replace("shop-data", ""), "names no bucket"),
            (
                OBJECT_CREATED_BRIDGE.replace("\"key\"", "\"kee\""),
                "Object Created",
            ),
            (
                BATCH_STATE.replace("c8f9c4b5-76e5-d76a-f980-7011e206042b", ""),
                "no `id`",
            ),
            (
                BATCH_STATE.replace("aws.batch", "a\\u0000b"),
                "control character",
            ),
            (
                envelope("SubscriptionConfirmation", "You have chosen to subscribe"),
                "SubscribeURL",
            ),
            (envelope("Notification", "hello"), "not JSON"),
            ("[".repeat(10_000), "not JSON"),
        ] {
            let error = refused(body.clone());
            assert!(error.contains(words), "{body}: {error}");
        }
    }
}
