"""Faults on demand: rules before the application.

`POST /_fault` with
    {"service": "sqs", "op": "ReceiveMessage", "with": "part of the request's body", "kind": "throttle", "times": 2, "ms": 300}
where service and op are globs, op without regard to case (for S3 it is the method), and kind is
    throttle, denied, 500, 503    answered so, and not done
    delay                         done after `ms`
    hang                          no answer for `ms` (a minute if not said), then a reset; not done
    reset                         the connection is reset; not done
    lost_reply                    done, but never answered: the connection is reset
    garbage                       an answer with status 200 that is no answer; not done
`GET /_fault` tells the rules that are left and the last requests that were seen, as [op, start of the body, service];
with `?with=…` only those with that part, and `counts` of all requests ever by "service op". `DELETE /_fault?with=…`
forgets the rules with that part.
"""

import collections
import fnmatch
import json
import os
import socket
import struct
import threading
import time

THROTTLED = ("400 Bad Request", "ThrottlingException", "Rate exceeded")
ERRORS = {
    "throttle": THROTTLED,
    "denied": ("403 Forbidden", "AccessDeniedException", "User is not authorized to perform this action"),
    "500": ("500 Internal Server Error", "InternalFailure", "injected"),
    "503": ("503 Service Unavailable", "ServiceUnavailable", "injected"),
}
# What a service says instead.
BATCH_THROTTLED = ("429 Too Many Requests", "TooManyRequestsException", "Rate exceeded")
S3_CODES = {"throttle": ("503 Slow Down", "SlowDown"), "denied": ("403 Forbidden", "AccessDenied")}
KINDS = (*ERRORS, "delay", "hang", "reset", "lost_reply", "garbage")
SEEN = 20000


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []
        self.seen = collections.deque(maxlen=SEEN)
        self.counts = collections.Counter()

    def apply(self, service, op, body, request, respond, application):
        """The answer of the application, unless a rule says otherwise."""
        rule = self.match(service, op, body.decode(errors="replace"))
        kind = rule["kind"] if rule else None
        if kind is None:
            return application(request, respond)
        if kind in ERRORS:
            return error(service, kind, respond)
        if kind == "garbage":
            respond("200 OK", [("Content-Type", "application/json")])
            return [b'<html>{"this is": not an answer']
        if kind == "delay":
            time.sleep(rule.get("ms", 300) / 1000)
            return application(request, respond)
        if kind == "hang":
            time.sleep(rule.get("ms", 60000) / 1000)
        if kind == "lost_reply":
            list(application(request, lambda *_, **__: lambda _: None))
        reset(request)
        return None

    def match(self, service, op, body):
        with self.lock:
            self.seen.append([op, body[:400], service])
            self.counts[f"{service} {op}"] += 1
            for rule in self.rules:
                if (
                    rule["times"]
                    and fnmatch.fnmatch(service, rule["service"])
                    and fnmatch.fnmatchcase(op.lower(), rule["op"].lower())
                    and rule["with"] in body
                ):
                    rule["times"] -= 1
                    return rule
        return None

    def manage(self, method, query, body):
        part = query.get("with", [""])[0]
        with self.lock:
            if method == "POST":
                rule = {"service": "*", "op": "*", "with": "", "times": 1, **json.loads(body)}
                if rule.get("kind") not in KINDS:
                    return 400, {"message": f"a fault is one of {', '.join(KINDS)}"}
                self.rules.append(rule)
            elif method == "DELETE":
                self.rules = [rule for rule in self.rules if rule["with"] != part]
            seen = [one for one in self.seen if part in one[1]] if part else list(self.seen)[-1000:]
            return 200, {"rules": self.rules, "seen": seen, "counts": dict(self.counts)}


def error(service, kind, respond):
    status, code, message = BATCH_THROTTLED if service == "batch" and kind == "throttle" else ERRORS[kind]
    if service == "s3":
        status, code = S3_CODES.get(kind, (status, code))
        respond(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()]
    respond(status, [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-errortype", code)])
    return [json.dumps({"__type": code, "message": message}).encode()]


def reset(request):
    """Closes the connection so that the other side gets a reset."""
    connection = request.get("werkzeug.socket")
    if connection is not None:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # The file descriptor itself: whoever else reads from the connection must not keep it open.
            os.close(connection.detach())
        except OSError:
            pass
    raise ConnectionAbortedError("injected")


def service_and_op(request):
    """By the scope of the signature, as AWS itself finds out who is meant."""
    scope = request.get("HTTP_AUTHORIZATION", "").split("/")
    target = request.get("HTTP_X_AMZ_TARGET")
    service = scope[3].lower() if len(scope) > 4 else "s3"
    region = scope[2] if len(scope) > 4 else "us-east-1"
    if target:
        return service, region, target.split(".")[-1]
    if service == "batch":
        return service, region, BATCH_OPS.get(request["PATH_INFO"].rsplit("/", 1)[-1], "Tags")
    return service, region, request["REQUEST_METHOD"]


BATCH_OPS = {
    op.lower(): op
    for op in (
        "CreateComputeEnvironment",
        "DescribeComputeEnvironments",
        "UpdateComputeEnvironment",
        "DeleteComputeEnvironment",
        "CreateJobQueue",
        "DescribeJobQueues",
        "UpdateJobQueue",
        "DeleteJobQueue",
        "RegisterJobDefinition",
        "DescribeJobDefinitions",
        "DeregisterJobDefinition",
        "SubmitJob",
        "DescribeJobs",
        "ListJobs",
        "TerminateJob",
        "CancelJob",
    )
}
