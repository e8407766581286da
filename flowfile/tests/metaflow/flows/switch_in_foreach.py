from metaflow import FlowSpec, step


class SwitchInForeach(FlowSpec):
    @step
    def start(self):
        self.next(self.w, foreach="xs")

    @step
    def w(self):
        self.next({'x': self.p, 'y': self.q}, condition="choice")

    @step
    def p(self):
        self.next(self.r)

    @step
    def q(self):
        self.next(self.r)

    @step
    def r(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SwitchInForeach()
