# metaflow.unbalanced
from metaflow import FlowSpec, step


class JoinWithoutSplit(FlowSpec):
    @step
    def start(self):
        self.next(self.j)

    @step
    def j(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    JoinWithoutSplit()
