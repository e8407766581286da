# metaflow.step_name
from metaflow import FlowSpec, step


class StepNameReserved(FlowSpec):
    @step
    def start(self):
        self.next(self.input)

    @step
    def input(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepNameReserved()
