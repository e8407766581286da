# metaflow.catch
from metaflow import FlowSpec, catch, step


class CatchOnForeach(FlowSpec):
    @catch
    @step
    def start(self):
        self.next(self.a, foreach="x")

    @step
    def a(self):
        self.next(self.j)

    @step
    def j(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    CatchOnForeach()
