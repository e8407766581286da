# metaflow.catch
from metaflow import FlowSpec, catch, step


class CatchOnSwitch(FlowSpec):
    @catch
    @step
    def start(self):
        self.next({1: self.a, 2: self.b}, condition="choice")

    @step
    def a(self):
        self.next(self.end)

    @step
    def b(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    CatchOnSwitch()
