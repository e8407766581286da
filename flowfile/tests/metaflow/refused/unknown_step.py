# metaflow.unknown_step
from metaflow import FlowSpec, step


class UnknownStep(FlowSpec):
    @step
    def start(self):
        self.next(self.mddle)

    @step
    def middle(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    UnknownStep()
