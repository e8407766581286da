from metaflow import FlowSpec, step


class ForeachNested(FlowSpec):
    @step
    def start(self):
        self.next(self.a, foreach="xs")

    @step
    def a(self):
        self.next(self.b, foreach="ys")

    @step
    def b(self):
        self.next(self.bj)

    @step
    def bj(self, inputs):
        self.next(self.aj)

    @step
    def aj(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ForeachNested()
