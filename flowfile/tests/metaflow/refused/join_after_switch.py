# metaflow.unbalanced
from metaflow import FlowSpec, step


class JoinAfterSwitch(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.a, 'y': self.b}, condition="choice")

    @step
    def a(self):
        self.next(self.j)

    @step
    def b(self):
        self.next(self.j)

    @step
    def j(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    JoinAfterSwitch()
