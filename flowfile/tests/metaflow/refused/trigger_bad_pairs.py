# metaflow.event
from metaflow import FlowSpec, Parameter, step, trigger


@trigger(event={'name': 'a', 'parameters': {'alpha': 3}})
class TriggerBadPairs(FlowSpec):
    alpha = Parameter("alpha", default=1)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TriggerBadPairs()
