# metaflow.step_name
from metaflow import FlowSpec, step


class StepNameCase(FlowSpec):
    @step
    def start(self):
        self.next(self.myStep)

    @step
    def myStep(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepNameCase()
