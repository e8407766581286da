# metaflow.parallel
from metaflow import FlowSpec, parallel, step


class ParallelNotStarted(FlowSpec):
    @step
    def start(self):
        self.next(self.a)

    @parallel
    @step
    def a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParallelNotStarted()
