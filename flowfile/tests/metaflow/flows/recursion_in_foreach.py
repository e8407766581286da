from metaflow import FlowSpec, step


class RecursionInForeach(FlowSpec):
    @step
    def start(self):
        self.next(self.w, foreach="xs")

    @step
    def w(self):
        self.next({True: self.w, False: self.done}, condition="more")

    @step
    def done(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    RecursionInForeach()
