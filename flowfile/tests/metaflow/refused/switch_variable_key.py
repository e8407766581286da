# metaflow.bad_next
from metaflow import FlowSpec, step


class SwitchVariableKey(FlowSpec):
    @step
    def start(self):
        self.next({key: self.a, "b": self.b}, condition="c")

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
    SwitchVariableKey()
