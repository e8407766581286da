//! Events of EventBridge: "Object Created" of S3 is an arrival, every other one is an event under its own name.

use crate::object::Arrival;
use aws_lambda_events::eventbridge::EventBridgeEvent;
use dalsegno_scheduler::{NewEvent, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// What S3 tells in `detail`. Its keys are not URL-encoded.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ObjectDetail {
    bucket: Bucket,
    object: Object,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Object {
    key: String,
    size: Option<i64>,
    #[serde(alias = "eTag")]
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// Whether an object has what every event of EventBridge has.
pub(crate) fn is_one(body: &Value) -> bool {
    ["detail-type", "source", "detail"]
        .iter()
        .all(|it| body.get(it).is_some())
}

/// The event in an EventBridge event. Type is its `detail-type` with `-` for spaces, which types of events have none of;
/// source its `source`, subject its first resource.
///
/// # Errors
/// When it is not as EventBridge sends it.
pub(crate) fn read(body: Value) -> Result<NewEvent, String> {
    let event: EventBridgeEvent = serde_json::from_value(body)
        .map_err(|error| format!("it is not an event as EventBridge sends it: {error}"))?;
    let time = event.time.map(Timestamp::from_chrono);
    if event.source == "aws.s3" && event.detail_type == "Object Created" {
        let detail: ObjectDetail = serde_json::from_value(event.detail).map_err(|error| {
            format!("its detail is not that of an S3 event \"Object Created\": {error}")
        })?;
        let arrival = Arrival {
            bucket: detail.bucket.name,
            key: detail.object.key,
            size: detail.object.size,
            etag: detail.object.etag,
            version: detail.object.version_id.filter(|it| it != "null"),
            sequencer: detail.object.sequencer,
            reason: detail.reason,
            time,
            path: None,
        };
        return arrival.event();
    }
    let id = event
        .id
        .filter(|it| !it.is_empty())
        .ok_or("the EventBridge event has no `id`")?;
    Ok(NewEvent {
        source: event.source,
        id,
        kind: event.detail_type.trim().replace(char::is_whitespace, "-"),
        subject: event.resources.into_iter().flatten().next(),
        time,
        data: event.detail,
    })
}
