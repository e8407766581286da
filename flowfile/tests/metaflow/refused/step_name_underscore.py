# metaflow.step_name
from metaflow import FlowSpec, step


class StepNameUnderscore(FlowSpec):
    @step
    def start(self):
        self.next(self._a)

    @step
    def _a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepNameUnderscore()
