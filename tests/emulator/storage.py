"""Notifications of S3 as S3 sends them: a zone in their time, `/` in their keys, a sequencer and identities; and those
through EventBridge with ids and sequencers of their own."""

import itertools
import uuid

import events
from moto.s3 import notifications

SEQUENCERS = itertools.count(0x0055AED6DCD90281E5)
REASONS = {"Put": "PutObject", "Copy": "CopyObject", "CompleteMultipartUpload": "CompleteMultipartUpload"}

plain_event = notifications._get_s3_event


def sequencer():
    return f"{next(SEQUENCERS):018X}"


def s3_event(*arguments):
    event = plain_event(*arguments)
    for record in event["Records"]:
        record["eventTime"] = record["eventTime"][:-3] + "Z"
        record["userIdentity"] = {"principalId": "EXAMPLE"}
        record["requestParameters"] = {"sourceIPAddress": "127.0.0.1"}
        record["responseElements"] = {"x-amz-request-id": uuid.uuid4().hex[:16].upper(), "x-amz-id-2": "x"}
        record["s3"]["bucket"]["ownerIdentity"] = {"principalId": "EXAMPLE"}
        object_ = record["s3"]["object"]
        object_["key"] = object_["key"].replace("%2F", "/")
        object_["sequencer"] = sequencer()
    return event


def to_event_bridge(account, bucket, event_name, key):
    detail = {
        "version": "0",
        "bucket": {"name": bucket.name},
        "object": {
            "key": key.name,
            "size": key.size,
            "etag": key.etag.replace('"', ""),
            "sequencer": sequencer(),
        },
        "request-id": uuid.uuid4().hex[:16].upper(),
        "requester": account,
        "source-ip-address": "127.0.0.1",
        "reason": REASONS.get(event_name.split(":")[-1], event_name),
    }
    kind = notifications._detail_type(event_name)
    events.send(events.event(bucket.region_name, "aws.s3", kind, [bucket.arn], detail))


notifications._get_s3_event = s3_event
notifications._send_event_bridge_message = to_event_bridge
