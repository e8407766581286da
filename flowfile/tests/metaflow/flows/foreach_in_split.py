from metaflow import FlowSpec, step


class ForeachInSplit(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next(self.w, foreach="xs")

    @step
    def w(self):
        self.next(self.wj)

    @step
    def wj(self, inputs):
        self.next(self.join)

    @step
    def b(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ForeachInSplit()
