# metaflow.unreachable
from metaflow import FlowSpec, step


class Orphan(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def lost(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Orphan()
