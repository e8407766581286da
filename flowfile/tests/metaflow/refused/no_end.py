# metaflow.start_end
from metaflow import FlowSpec, step


class NoEnd(FlowSpec):
    @step
    def start(self):
        self.next(self.a)

    @step
    def a(self):
        self.next(self.b)

    @step
    def b(self):
        pass


if __name__ == "__main__":
    NoEnd()
