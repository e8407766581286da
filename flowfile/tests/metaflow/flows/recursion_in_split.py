from metaflow import FlowSpec, step


class RecursionInSplit(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next({True: self.a, False: self.out}, condition="more")

    @step
    def out(self):
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
    RecursionInSplit()
