//! An object arrived: one event, whether S3, EventBridge or a folder told of it.

use crate::base16::base16;
use dalsegno_scheduler::spec::OBJECT_CREATED;
use dalsegno_scheduler::{KEY_BYTES_MAX, NewEvent, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// An object that came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    pub bucket: String,
    /// As people know it, not URL-encoded.
    pub key: String,
    pub size: Option<i64>,
    pub etag: Option<String>,
    /// Of buckets that keep versions.
    pub version: Option<String>,
    /// Grows with each write of one key.
    pub sequencer: Option<String>,
    /// How it came, such as `Put` or `CompleteMultipartUpload`.
    pub reason: Option<String>,
    pub time: Option<Timestamp>,
    /// Of objects that are files: where it lies.
    pub path: Option<String>,
}

impl Arrival {
    /// The event of it. The same arrival, told twice or by two ways, has the same source and id.
    ///
    /// # Errors
    /// When bucket or key cannot be an event's.
    pub fn event(self) -> Result<NewEvent, String> {
        if self.bucket.is_empty() {
            return Err("it names no bucket".into());
        }
        if self.key.is_empty() {
            return Err("it names no object key".into());
        }
        if self.key.len() > KEY_BYTES_MAX {
            return Err(format!(
                "the object key is longer than {KEY_BYTES_MAX} bytes"
            ));
        }
        if self.key.contains('\0') || self.bucket.contains(char::is_control) {
            return Err("bucket or object key hold a character that no database keeps".into());
        }
        let id = self.id();
        let mut data = Map::new();
        data.insert("bucket".into(), json!(self.bucket));
        data.insert("key".into(), json!(self.key));
        let texts = [
            ("etag", self.etag),
            ("version", self.version),
            ("sequencer", self.sequencer),
            ("reason", self.reason),
            ("path", self.path),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                data.insert(name.into(), Value::String(text));
            }
        }
        if let Some(size) = self.size {
            data.insert("size".into(), json!(size));
        }
        Ok(NewEvent {
            source: source(&self.bucket),
            id,
            kind: OBJECT_CREATED.into(),
            subject: Some(self.key),
            time: self.time,
            data: Value::Object(data),
        })
    }

    /// `SEQUENCER/VERSION/KEY`. A sender without sequencers (some that are not AWS) is taken at its time and tag.
    fn id(&self) -> String {
        let order = match (&self.sequencer, &self.version) {
            // A folder's files have versions, and no order.
            (None, Some(_)) => "-".to_owned(),
            (None, None) => format!(
                "{}+{}",
                self.time.map_or(0, |it| it.0),
                self.etag.as_deref().unwrap_or_default()
            ),
            (Some(sequencer), _) => sequencer.clone(),
        };
        let version = self.version.as_deref().unwrap_or("-");
        let id = format!("{order}/{version}/{}", self.key);
        match id.len() > KEY_BYTES_MAX || id.contains(char::is_control) {
            false => id,
            true => format!("sha256:{}", base16(&Sha256::digest(&id))),
        }
    }
}

/// The source of a bucket's events.
pub fn source(bucket: &str) -> String {
    format!("s3://{bucket}")
}

/// Undoes the encoding of keys in notifications that come from S3 itself: `+` is a space, `%2B` a plus.
///
/// # Errors
/// When it is not so encoded, or the bytes are not UTF-8.
pub(crate) fn decode_key(encoded: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = (rest.next().and_then(digit), rest.next().and_then(digit));
                let (Some(high), Some(low)) = digits else {
                    return Err(format!(
                        "the object key `{encoded}` is not URL-encoded, as S3 sends it"
                    ));
                };
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes)
        .map_err(|_| format!("the object key `{encoded}` is not UTF-8 when it is decoded"))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|it| it as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_notifications_are_decoded() {
        assert_eq!(
            decode_key("in/a+b%2B%C3%BC.csv").as_deref(),
            Ok("in/a b+ü.csv")
        );
        assert_eq!(
            decode_key("dt%3D2026-11-22/_SUCCESS").as_deref(),
            Ok("dt=2026-11-22/_SUCCESS")
        );
        assert_eq!(decode_key("in%2Fa").as_deref(), Ok("in/a"));
        assert!(
            decode_key("100%").is_err() && decode_key("%zz").is_err() && decode_key("%ff").is_err()
        );
    }

    #[test]
    fn the_same_arrival_is_the_same_event_and_the_next_version_another() {
        let arrival = Arrival {
            bucket: "shop".into(),
            key: "orders/a b.csv".into(),
            sequencer: Some("0055AED6".into()),
            ..Arrival::default()
        };
        let event = arrival.clone().event().expect("valid");
        assert_eq!(event.source, "s3://shop");
        assert_eq!(event.id, "0055AED6/-/orders/a b.csv");
        assert_eq!(event.subject.as_deref(), Some("orders/a b.csv"));
        assert_eq!(
            event.data,
            json!({"bucket": "shop", "key": "orders/a b.csv", "sequencer": "0055AED6"})
        );
        let next = Arrival {
            sequencer: Some("0055AED7".into()),
            ..arrival.clone()
        };
        assert_ne!(next.event().expect("valid").id, event.id);
        let other = Arrival {
            version: Some("v2".into()),
            ..arrival
        };
        assert_ne!(other.event().expect("valid").id, event.id);
    }

    #[test]
    fn the_longest_key_that_s3_allows_has_an_id_that_fits() {
        let arrival = Arrival {
            bucket: "shop".into(),
            key: "k".repeat(1024),
            sequencer: Some("0055AED6".into()),
            ..Arrival::default()
        };
        let event = arrival.clone().event().expect("valid");
        assert!(event.id.len() <= KEY_BYTES_MAX && event.id.starts_with("sha256:"));
        let longer = Arrival {
            key: "k".repeat(1025),
            ..arrival
        };
        assert!(longer.event().is_err());
    }
}
