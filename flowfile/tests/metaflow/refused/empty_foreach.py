# metaflow.empty_foreach
from metaflow import FlowSpec, step


class EmptyForeach(FlowSpec):
    @step
    def start(self):
        self.next(self.j, foreach="x")

    @step
    def j(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    EmptyForeach()
