# metaflow.unknown_decorator
from metaflow import FlowSpec, step


class NotImported(FlowSpec):
    @retry
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    NotImported()
