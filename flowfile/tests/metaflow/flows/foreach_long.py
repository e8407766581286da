from metaflow import FlowSpec, step


class ForeachLong(FlowSpec):
    @step
    def start(self):
        self.next(self.one, foreach='xs')

    @step
    def one(self):
        self.next(self.two)

    @step
    def two(self):
        self.next(self.three)

    @step
    def three(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.after)

    @step
    def after(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ForeachLong()
