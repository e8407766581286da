# metaflow.switch
from metaflow import FlowSpec, step


class SwitchToJoin(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next({'x': self.j, 'y': self.c}, condition="choice")

    @step
    def c(self):
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
    SwitchToJoin()
