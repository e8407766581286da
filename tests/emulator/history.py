"""The history of an execution, as GetExecutionHistory tells it, and how its parts are stopped."""

import json
import threading
import time

import asl

MOST_EVENTS = 25000
MOST_DATA = 256 * 1024
NOT_CUT = {"truncated": False}


class Stopped(Exception):
    """Somebody outside ended this: the execution was stopped or took too long, or a sibling has failed."""


class Scope:
    """A part of an execution that can be stopped without the rest of it."""

    def __init__(self, parent=None):
        self.parent = parent
        self.stopped = threading.Event()
        self.inner = []
        self.lock = parent.lock if parent else threading.Lock()
        if parent is not None:
            with self.lock:
                parent.inner.append(self)
                if parent.stopped.is_set():
                    self.stopped.set()

    def stop(self):
        with self.lock:
            self.mark()

    def mark(self):
        self.stopped.set()
        for one in self.inner:
            one.mark()

    def leave(self):
        if self.parent is not None:
            with self.lock:
                self.parent.inner.remove(self)

    def check(self):
        if self.stopped.is_set():
            raise Stopped

    def sleep(self, seconds):
        if self.stopped.wait(max(0.0, seconds)):
            raise Stopped


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.events = []

    def add(self, kind, previous, details=None):
        """The number of the new event."""
        with self.lock:
            number = len(self.events) + 1
            event = {"timestamp": time.time(), "type": kind, "id": number, "previousEventId": previous}
            if details is not None:
                event[details_name(kind)] = details
            self.events.append(event)
        return number

    def check(self):
        if len(self.events) >= MOST_EVENTS - 1:
            cause = f"The execution reached the maximum number of history events ({MOST_EVENTS})."
            raise asl.runtime(cause)


SHARED = {"StateEntered": "stateEntered", "StateExited": "stateExited"}


def details_name(kind):
    """`TaskStateEntered` has its details in `stateEnteredEventDetails`, `TaskFailed` in `taskFailedEventDetails`."""
    for ending, name in SHARED.items():
        if kind.endswith(ending):
            return f"{name}EventDetails"
    return f"{kind[0].lower()}{kind[1:]}EventDetails"


def text(data):
    return json.dumps(data, separators=(",", ":"))


def check_size(data, name):
    if len(text(data)) > MOST_DATA:
        cause = f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
        raise asl.Failure("States.DataLimitExceeded", cause)
