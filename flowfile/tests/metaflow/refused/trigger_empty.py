# metaflow.event
from metaflow import FlowSpec, step, trigger


@trigger
class TriggerEmpty(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TriggerEmpty()
