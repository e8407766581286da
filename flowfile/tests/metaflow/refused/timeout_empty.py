# metaflow.timeout
from metaflow import FlowSpec, step, timeout


class TimeoutEmpty(FlowSpec):
    @timeout
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    TimeoutEmpty()
