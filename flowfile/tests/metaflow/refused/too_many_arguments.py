# metaflow.arguments
from metaflow import FlowSpec, step


class TooManyArguments(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self, inputs, more):
        pass


if __name__ == "__main__":
    TooManyArguments()
