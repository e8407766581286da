# metaflow.unbalanced
from metaflow import FlowSpec, step


class UnjoinedForeach(FlowSpec):
    @step
    def start(self):
        self.next(self.a, foreach="x")

    @step
    def a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    UnjoinedForeach()
