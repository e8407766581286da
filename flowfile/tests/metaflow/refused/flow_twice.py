# metaflow.duplicate_decorator
from metaflow import FlowSpec, schedule, step


@schedule(daily=True)
@schedule(hourly=True)
class FlowTwice(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FlowTwice()
