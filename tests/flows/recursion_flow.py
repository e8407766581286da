from metaflow import FlowSpec, step


class RecursionFlow(FlowSpec):
    """A step that comes back to itself a dozen times, in each task of a foreach its own number of times."""

    @step
    def start(self):
        self.limits = [1, 4, 7]
        self.next(self.body, foreach="limits")

    @step
    def body(self):
        self.limit = self.input
        self.rounds = 0
        self.next(self.spin)

    @step
    def spin(self):
        self.rounds += 1
        print("round", self.rounds, "of", self.limit)
        self.more = self.rounds < self.limit
        self.next({True: self.spin, False: self.out}, condition="more")

    @step
    def out(self):
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.all = [each.rounds for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        print(self.all)


if __name__ == "__main__":
    RecursionFlow()
