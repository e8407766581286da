# metaflow.bad_next
from metaflow import FlowSpec, step


class SwitchConditionVariable(FlowSpec):
    @step
    def start(self):
        self.next({"a": self.a, "b": self.b}, condition=which)

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
    SwitchConditionVariable()
