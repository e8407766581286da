# metaflow.start_end
from metaflow import FlowSpec, step


class BackToStart(FlowSpec):
    @step
    def start(self):
        self.next(self.a)

    @step
    def a(self):
        self.next({'x': self.start, 'y': self.end}, condition="choice")

    @step
    def end(self):
        pass


if __name__ == "__main__":
    BackToStart()
