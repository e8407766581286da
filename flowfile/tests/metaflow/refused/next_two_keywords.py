# metaflow.bad_next
from metaflow import FlowSpec, step


class NextTwoKeywords(FlowSpec):
    @step
    def start(self):
        self.next(self.a, foreach="x", num_parallel=2)

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
    NextTwoKeywords()
