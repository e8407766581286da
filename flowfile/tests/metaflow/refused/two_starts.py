# metaflow.start_end
from metaflow import FlowSpec, step


class TwoStarts(FlowSpec):
    @step(start=True)
    def one(self):
        self.next(self.end)

    @step(start=True)
    def two(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TwoStarts()
