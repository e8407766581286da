from metaflow import FlowSpec, step


class SplitWide(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b, self.c)

    @step
    def c(self):
        self.next(self.d)

    @step
    def d(self):
        self.next(self.join)

    @step
    def b(self):
        self.next(self.join)

    @step
    def a(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    SplitWide()
