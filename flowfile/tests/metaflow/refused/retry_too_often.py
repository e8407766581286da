# metaflow.retry
from metaflow import FlowSpec, retry, step


class RetryTooOften(FlowSpec):
    @retry(times=5)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    RetryTooOften()
