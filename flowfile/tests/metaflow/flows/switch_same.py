from metaflow import FlowSpec, step


class SwitchSame(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.a, 'y': self.a, 'z': self.b}, condition="choice")

    @step
    def a(self):
        self.next(self.end)

    @step
    def b(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SwitchSame()
