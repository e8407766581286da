# metaflow.no_next
from metaflow import FlowSpec, step


class NextInIf(FlowSpec):
    @step
    def start(self):
        if True: self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    NextInIf()
