from metaflow import FlowSpec, step


class JoinNames(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next(self.gather)

    @step
    def b(self):
        self.next(self.gather)

    @step
    def gather(self, them=None):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    JoinNames()
