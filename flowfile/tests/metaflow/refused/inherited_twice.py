# metaflow.duplicate_decorator
from metaflow import FlowSpec, schedule, step


@schedule(daily=True)
class Base(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


@schedule(hourly=True)
class InheritedTwice(Base):
    pass


if __name__ == "__main__":
    InheritedTwice()
