# metaflow.parallel
from metaflow import FlowSpec, step


class ParallelMissing(FlowSpec):
    @step
    def start(self):
        self.next(self.a, num_parallel=2)

    @step
    def a(self):
        self.next(self.j)

    @step
    def j(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParallelMissing()
