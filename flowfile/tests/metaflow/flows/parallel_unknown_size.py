from metaflow import FlowSpec, parallel, step


class ParallelUnknownSize(FlowSpec):
    @step
    def start(self):
        self.next(self.gang, num_parallel=self.size)

    @parallel
    @step
    def gang(self):
        self.next(self.join)

    @step
    def join(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParallelUnknownSize()
