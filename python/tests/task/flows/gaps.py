"""Attempts that fail or die, each leaving what nobody may read; with UNBORN they die before Metaflow begins."""
import os
import signal

from metaflow import FlowSpec, catch, current, parallel, step

if "UNBORN" in os.environ:
    os.kill(os.getpid(), signal.SIGKILL)


class Gaps(FlowSpec):
    @catch(var="problem", print_exception=False)
    @step
    def start(self):
        self.found = "wrong"
        if "DIES" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        if "FAILS" in os.environ:
            raise ValueError("not yet")
        self.found = "right"
        self.next(self.split)

    @step
    def split(self):
        self.next(self.work, num_parallel=2)

    @parallel
    @step
    def work(self):
        self.found = "wrong"
        if "FAILS" in os.environ and current.parallel.node_index == 1:
            raise ValueError("not yet")
        self.found = "right"
        self.next(self.join)

    @step
    def join(self, inputs):
        self.all_found = [one.found for one in inputs]
        self.merge_artifacts(inputs, include=["problem"])
        self.next(self.end)

    @step
    def end(self):
        print(self.all_found)


if __name__ == "__main__":
    Gaps()
