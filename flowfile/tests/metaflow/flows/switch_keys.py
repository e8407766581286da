from metaflow import FlowSpec, step


class SwitchKeys(FlowSpec):
    @step
    def start(self):
        self.next({True: self.a, False: self.b, 2: self.c, 2.5: self.d, 'two': self.a}, condition="choice")

    @step
    def a(self):
        self.next(self.end)

    @step
    def b(self):
        self.next(self.end)

    @step
    def c(self):
        self.next(self.end)

    @step
    def d(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SwitchKeys()
