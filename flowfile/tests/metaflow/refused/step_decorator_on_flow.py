# metaflow.unknown_decorator
from metaflow import FlowSpec, retry, step


@retry
class StepDecoratorOnFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepDecoratorOnFlow()
