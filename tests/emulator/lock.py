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


Queue.delete_message = delete_message
SQSBackend.receive_message = receive_message
