from metaflow import FlowSpec, step


class SplitInSwitch(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.p, 'y': self.q}, condition="choice")

    @step
    def p(self):
        self.next(self.a, self.b)

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
    def q(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SplitInSwitch()
