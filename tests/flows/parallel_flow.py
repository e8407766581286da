from metaflow import FlowSpec, current, parallel, step


class ParallelFlow(FlowSpec):
    """A gang of three: one task that controls, two that work beside it."""

    @step
    def start(self):
        self.next(self.gang, num_parallel=3)

    @parallel
    @step
    def gang(self):
        self.place = [current.parallel.node_index, current.parallel.num_nodes]
        self.next(self.gather)

    @step
    def gather(self, inputs):
        self.places = sorted(each.place for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        print(self.places)


if __name__ == "__main__":
    ParallelFlow()
