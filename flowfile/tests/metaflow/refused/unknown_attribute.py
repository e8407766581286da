# metaflow.unknown_attribute
from metaflow import FlowSpec, retry, step


class UnknownAttribute(FlowSpec):
    @retry(time=1)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    UnknownAttribute()
