"""Retries, catches, timeouts and what the runtime sets in the environment."""
import os
import signal
import sys
import time

from metaflow import FlowSpec, catch, current, environment, retry, step, timeout


class Trouble(FlowSpec):
    @environment(vars={"COLOUR": "red"})
    @retry(times=2, minutes_between_retries=0)
    @step
    def start(self):
        print("attempt", current.retry_count, os.environ.get("COLOUR"))
        if current.retry_count < 1:
            raise ValueError("boom")
        self.next(self.caught)

    @catch(var="error", print_exception=False)
    @step
    def caught(self):
        raise KeyError("gone")
        self.next(self.slow)

    @catch(var="slowness", print_exception=False)
    @timeout(seconds=1)
    @step
    def slow(self):
        time.sleep(30)
        self.next(self.killed)

    @catch(var="death", print_exception=False)
    @retry(times=1, minutes_between_retries=0)
    @step
    def killed(self):
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        self.next(self.end)

    @step
    def end(self):
        self.seen = [type(one).__name__ for one in (self.error, self.slowness, self.death)]


if __name__ == "__main__":
    Trouble()
