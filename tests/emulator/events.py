"""EventBridge: events of AWS's own services, sent through the rules that moto keeps.

State changes of jobs and executions go one after another through one thread, so that they arrive in their order. A
queue can be told to get them otherwise: `PUT /_events/QUEUE` with any of
    {"drop": 1, "double": 2, "delay_ms": 500, "reorder": 3}
loses the next one, sends the next two twice, sends each half a second late (until 0 is said), and sends the next three
in the opposite order once the third is there. `GET /_events/QUEUE` tells what is left of that.
"""

import copy
import datetime
import heapq
import itertools
import json
import sys
import threading
import time
import traceback
import uuid

from lock import LOCK
from moto.events.models import Rule, events_backends

ACCOUNT = "123456789012"

plain_send = Rule._send_to_sqs_queue


def event(region, source, kind, resources, detail):
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": resources,
        "detail": detail,
    }


def send(it):
    """Through every enabled rule whose pattern it matches."""
    with LOCK:
        for bus in list(events_backends[ACCOUNT][it["region"]].event_buses.values()):
            for rule in list(bus.rules.values()):
                if rule.state == "ENABLED" and concerns(rule, it):
                    rule.send_to_targets(copy.deepcopy(it), transform_input=False)


def concerns(rule, it):
    """Whether the pattern does not rule out the source and kind: a cheap question before the dear one."""
    pattern = rule.event_pattern.get_pattern() if rule.event_pattern else {}
    for key in ("source", "detail-type"):
        wanted = pattern.get(key)
        if isinstance(wanted, list) and all(isinstance(one, str) for one in wanted) and it[key] not in wanted:
            return False
    inner = pattern.get("detail")
    return not isinstance(inner, dict) or all(may_be(it["detail"].get(key), wanted) for key, wanted in inner.items())


def may_be(found, wanted):
    """Whether one of the texts or beginnings of texts is meant; yes when something else is asked for."""
    if not isinstance(wanted, list) or not isinstance(found, str):
        return True
    for one in wanted:
        is_prefix = isinstance(one, dict) and isinstance(one.get("prefix"), str)
        if not is_prefix and not isinstance(one, str):
            return True
        if found.startswith(one["prefix"]) if is_prefix else found == one:
            return True
    return False


def listening(region, source):
    """Whether anybody may want events of this source: without, none are made, which is cheap for many jobs."""
    for bus in list(events_backends[ACCOUNT][region].event_buses.values()):
        for rule in list(bus.rules.values()):
            wanted = (rule.event_pattern.get_pattern() if rule.event_pattern else {}).get("source")
            if not isinstance(wanted, list) or source in wanted:
                return True
    return False


# State changes ----------------------------------------------------------------------------------------------------


class Courier(threading.Thread):
    """Does what must be done in order and under the lock of moto, later, for those who must not wait."""

    def __init__(self):
        super().__init__(name="courier", daemon=True)
        self.ready = threading.Condition()
        self.todo = []
        self.numbers = itertools.count()

    def add(self, work, delay=0.0):
        with self.ready:
            heapq.heappush(self.todo, (time.monotonic() + delay if delay else 0.0, next(self.numbers), work))
            self.ready.notify()

    def run(self):
        while True:
            with self.ready:
                while not self.todo or self.todo[0][0] > time.monotonic():
                    self.ready.wait(self.todo[0][0] - time.monotonic() if self.todo else None)
                work = heapq.heappop(self.todo)[2]
            try:
                work()
            except Exception:
                traceback.print_exc(file=sys.stderr)


COURIER = Courier()
COURIER.start()

# By the name of a queue: what is to be done to the next state changes that go there.
CONTROLS = {}
STATE_CHANGES = ("aws.batch", "aws.states")


def tell(region, source, kind, resources, detail):
    """Sends the change of a state. `detail` is nobody else's."""
    it = event(region, source, kind, resources, detail)
    COURIER.add(lambda: send(it))


def take(control, what):
    if control.get(what, 0) > 0:
        control[what] -= 1
        return True
    return False


def send_to_queue(self, name, event, group_id=None):
    """The time of an event is a number here, and only here."""
    if isinstance(event.get("time"), str):
        at = datetime.datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
        event = {**event, "time": at.replace(tzinfo=datetime.timezone.utc).timestamp()}
    control = CONTROLS.get(name)
    if control is None or event.get("source") not in STATE_CHANGES:
        return plain_send(self, name, event, group_id)
    for late in misled(control, event):
        deliver(self, name, late, group_id, control.get("delay_ms", 0) / 1000)
    return None


def misled(control, event):
    """What is sent instead of this event, now."""
    if take(control, "drop"):
        return []
    copies = [event, event] if take(control, "double") else [event]
    if control.get("reorder", 0) > 0:
        control["reorder"] -= 1
        control["kept"][:0] = copies
        if control["reorder"]:
            return []
        copies, control["kept"] = control["kept"], []
    return copies


def deliver(rule, name, event, group_id, delay):
    # It writes into what it is given, and the same event may go out twice.
    event = dict(event)
    if not delay:
        plain_send(rule, name, event, group_id)
        return

    def work():
        with LOCK:
            plain_send(rule, name, event, group_id)

    COURIER.add(work, delay)


Rule._send_to_sqs_queue = send_to_queue


def manage(method, queue, body):
    """The page of a queue in `/_events/`."""
    with LOCK:
        if method == "PUT":
            CONTROLS.setdefault(queue, {"kept": []}).update(json.loads(body))
        elif method == "DELETE":
            CONTROLS.pop(queue, None)
        control = CONTROLS.get(queue, {})
        return 200, {key: value for key, value in control.items() if key != "kept"}
