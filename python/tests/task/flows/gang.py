"""A gang: one control task that starts the others itself."""
from metaflow import FlowSpec, current, parallel, step


class Gang(FlowSpec):
    @step
    def start(self):
        self.next(self.work, num_parallel=3)

    @parallel
    @step
    def work(self):
        self.place = (current.parallel.node_index, current.parallel.num_nodes)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.places = sorted(one.place for one in inputs)
        self.next(self.end)

    @step
    def end(self):
        print(self.places)


if __name__ == "__main__":
    Gang()
