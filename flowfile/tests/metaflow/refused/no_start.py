# metaflow.start_end
from metaflow import FlowSpec, step


class NoStart(FlowSpec):
    @step
    def a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    NoStart()
