# metaflow.no_next
from metaflow import FlowSpec, step


class NoNext(FlowSpec):
    @step
    def start(self):
        print(1)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    NoNext()
