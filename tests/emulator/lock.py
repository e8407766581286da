"""One request at a time: moto's state is plain dictionaries and lists that were made for one thread."""

import threading
import time

from moto.sqs.models import Queue, SQSBackend

# Held by everything that touches moto, but for the time a request only waits.
LOCK = threading.RLock()

# A queue that keeps what it was given -----------------------------------------------------------------------------

plain_delete = Queue.delete_message
plain_receive = SQSBackend.receive_message


def delete_message(self, receipt_handle):
    """It copies the list without the message; what arrived meanwhile would not be in the copy."""
    with self._messages_lock:
        return plain_delete(self, receipt_handle)


def receive_message(self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
    """Long polling looks at the queue under the lock, and waits without it."""
    until = time.monotonic() + (wait_seconds_timeout or 0)
    while True:
        with LOCK:
            found = plain_receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
            queue = self.get_queue(queue_name)
        left = until - time.monotonic()
        if found or left <= 0:
            return found
        queue.wait_for_messages(min(left, 1))


# A queue with many messages --------------------------------------------------------------------------------------

SENDING = threading.local()
plain_send = SQSBackend.send_message


class Visible:
    """The messages that can be received, looked for only as far as somebody asks."""

    def __init__(self, queue):
        self.queue = queue

    def __iter__(self):
        return (one for one in self.queue._messages if one.visible and not one.delayed)

    def __bool__(self):
        return next(iter(self), None) is not None

    def __len__(self):
        return sum(1 for _ in self)


def send_message(self, *arguments, **named):
    """It counts all messages only to learn whether the queue is a FIFO."""
    SENDING.now = True
    try:
        return plain_send(self, *arguments, **named)
    finally:
        SENDING.now = False


def not_while_sending(plain):
    return property(lambda self: 0 if getattr(SENDING, "now", False) else plain.fget(self))


for what in ("", "_delayed", "_not_visible"):
    name = f"approximate_number_of_messages{what}"
    setattr(Queue, name, not_while_sending(getattr(Queue, name)))
Queue.messages = property(Visible)
SQSBackend.send_message = send_message
Queue.delete_message = delete_message
SQSBackend.receive_message = receive_message
