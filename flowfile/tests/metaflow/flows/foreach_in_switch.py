from metaflow import FlowSpec, step


class ForeachInSwitch(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.p, 'y': self.q}, condition="choice")

    @step
    def p(self):
        self.next(self.w, foreach="xs")

    @step
    def w(self):
        self.next(self.wj)

    @step
    def wj(self, inputs):
        self.next(self.end)

    @step
    def q(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ForeachInSwitch()
