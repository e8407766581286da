from metaflow import FlowSpec, step


class SwitchEqualKeys(FlowSpec):
    @step
    def start(self):
        self.next({1: self.a, True: self.b, 0: self.a}, condition="choice")

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
    SwitchEqualKeys()
