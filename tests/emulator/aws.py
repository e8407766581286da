"""An emulator of AWS on 127.0.0.1, for tests: moto, with what it says wrong put right, and faults on demand.

What is put right: notifications of S3 have a zone in their time, `/` in their keys, a sequencer and the identities
that S3 sends; those through EventBridge have ids and sequencers of their own; a message that arrives while another is
deleted is not lost.

Faults are rules, `POST /_fault` with
    {"op": "ReceiveMessage", "with": "part of the request's body", "kind": "throttle", "times": 2, "ms": 300}
where kind is throttle, denied, 500, 503, delay, reset or lost_reply (done, but never answered). `GET /_fault` tells the
rules that are left and the requests that were seen, `DELETE /_fault?with=…` forgets the rules with that part.
"""

import argparse
import copy
import datetime
import fnmatch
import io
import itertools
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse
import uuid

from moto.events.models import Rule, events_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3 import notifications
from moto.sqs.models import Queue
from werkzeug.serving import WSGIRequestHandler, run_simple

SEQUENCERS = itertools.count(0x0055AED6DCD90281E5)


def sequencer():
    return f"{next(SEQUENCERS):018X}"


# S3 to queues and topics ------------------------------------------------------------------------------------------

plain_event = notifications._get_s3_event


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


notifications._get_s3_event = s3_event

# S3 to EventBridge ------------------------------------------------------------------------------------------------

REASONS = {"Put": "PutObject", "Copy": "CopyObject", "CompleteMultipartUpload": "CompleteMultipartUpload"}


def to_event_bridge(account, bucket, event_name, key):
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": notifications._detail_type(event_name),
        "source": "aws.s3",
        "account": account,
        "time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": bucket.region_name,
        "resources": [bucket.arn],
        "detail": {
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
        },
    }
    for bus in list(events_backends[account][bucket.region_name].event_buses.values()):
        for rule in list(bus.rules.values()):
            if rule.state == "ENABLED":
                rule.send_to_targets(copy.deepcopy(event), transform_input=False)


notifications._send_event_bridge_message = to_event_bridge
plain_send = Rule._send_to_sqs_queue


def send_to_queue(self, name, event, group_id=None):
    """The time of an event is a number here, and only here."""
    if isinstance(event.get("time"), str):
        at = datetime.datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
        event = {**event, "time": at.replace(tzinfo=datetime.timezone.utc).timestamp()}
    return plain_send(self, name, event, group_id)


Rule._send_to_sqs_queue = send_to_queue

# A queue that keeps what it was given -----------------------------------------------------------------------------

plain_delete = Queue.delete_message


def delete_message(self, receipt_handle):
    """It copies the list without the message; what arrived meanwhile would not be in the copy."""
    with self._messages_lock:
        return plain_delete(self, receipt_handle)


Queue.delete_message = delete_message

# Faults -----------------------------------------------------------------------------------------------------------

ERRORS = {
    "throttle": ("400 Bad Request", "ThrottlingException", "Rate exceeded"),
    "denied": ("403 Forbidden", "AccessDeniedException", "User is not authorized to perform this action"),
    "500": ("500 Internal Server Error", "InternalFailure", "injected"),
    "503": ("503 Service Unavailable", "ServiceUnavailable", "injected"),
}


class Faulty:
    """The application, with rules before it."""

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()
        self.rules = []
        self.seen = []

    def __call__(self, request, respond):
        body = request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        if request["PATH_INFO"] == "/_fault":
            return self.manage(request, body, respond)
        request["wsgi.input"] = io.BytesIO(body)
        op = request.get("HTTP_X_AMZ_TARGET", request["REQUEST_METHOD"]).split(".")[-1]
        rule = self.match(op, body.decode(errors="replace"))
        kind = rule["kind"] if rule else None
        if kind is None:
            return self.app(request, respond)
        if kind in ERRORS:
            status, code, message = ERRORS[kind]
            respond(status, [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-errortype", code)])
            return [json.dumps({"__type": code, "message": message}).encode()]
        if kind == "delay":
            time.sleep(rule.get("ms", 300) / 1000)
            return self.app(request, respond)
        if kind == "lost_reply":
            list(self.app(request, lambda *_, **__: lambda _: None))
        self.reset(request)

    def match(self, op, body):
        with self.lock:
            self.seen.append([op, body[:200]])
            del self.seen[:-1000]
            for rule in self.rules:
                if rule["times"] and fnmatch.fnmatch(op, rule["op"]) and rule["with"] in body:
                    rule["times"] -= 1
                    return rule
        return None

    def manage(self, request, body, respond):
        with self.lock:
            if request["REQUEST_METHOD"] == "POST":
                self.rules.append({"op": "*", "with": "", "times": 1, **json.loads(body)})
            elif request["REQUEST_METHOD"] == "DELETE":
                part = urllib.parse.parse_qs(request["QUERY_STRING"]).get("with", [""])[0]
                self.rules = [rule for rule in self.rules if rule["with"] != part]
            answer = json.dumps({"rules": self.rules, "seen": self.seen}).encode()
        respond("200 OK", [("Content-Type", "application/json")])
        return [answer]

    @staticmethod
    def reset(request):
        """Closes the connection so that the other side gets a reset."""
        connection = request.get("werkzeug.socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        raise ConnectionAbortedError("injected")


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    port = arguments.parse_args().port
    os.environ["MOTO_PORT"] = str(port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = Faulty(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, app, threaded=True, use_reloader=False, request_handler=Quiet)


if __name__ == "__main__":
    main()
