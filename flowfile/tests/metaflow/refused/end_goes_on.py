# metaflow.start_end
from metaflow import FlowSpec, step


class EndGoesOn(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        self.next(self.start)


if __name__ == "__main__":
    EndGoesOn()
