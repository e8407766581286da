# metaflow.syntax
from metaflow import FlowSpec, step


class Syntax(FlowSpec):
    @step
    def start(self):
        print("never closed"
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Syntax()
