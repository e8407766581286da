# metaflow.join_and_split
from metaflow import FlowSpec, step


class JoinAndForeach(FlowSpec):
    @step
    def start(self):
        self.next(self.a, self.b)

    @step
    def a(self):
        self.next(self.j)

    @step
    def b(self):
        self.next(self.j)

    @step
    def j(self, inputs):
        self.next(self.c, foreach="x")

    @step
    def c(self):
        self.next(self.k)

    @step
    def k(self, inputs):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    JoinAndForeach()
