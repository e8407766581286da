from metaflow import FlowSpec, step


class SwitchLong(FlowSpec):
    @step
    def start(self):
        self.next({'x': self.a, 'y': self.b, 'z': self.end}, condition="choice")

    @step
    def a(self):
        self.next(self.a2)

    @step
    def a2(self):
        self.next(self.b)

    @step
    def b(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SwitchLong()
