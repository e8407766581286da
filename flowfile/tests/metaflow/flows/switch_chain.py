from metaflow import FlowSpec, step


class SwitchChain(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.a, 'y': self.b}, condition="choice")

    @step
    def a(self):
        self.next({'p': self.c, 'q': self.d}, condition="choice")

    @step
    def b(self):
        self.next(self.d)

    @step
    def c(self):
        self.next(self.d)

    @step
    def d(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SwitchChain()
