# metaflow.unknown_decorator
from metaflow import FlowSpec, schedule, step


class FlowDecoratorOnStep(FlowSpec):
    @schedule
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FlowDecoratorOnStep()
