# metaflow.switch
from metaflow import FlowSpec, step


class SwitchOne(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.a}, condition="choice")

    @step
    def a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SwitchOne()
