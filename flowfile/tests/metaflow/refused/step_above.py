# metaflow.decorator_order
from metaflow import FlowSpec, retry, step


class StepAbove(FlowSpec):
    @step
    @retry
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepAbove()
