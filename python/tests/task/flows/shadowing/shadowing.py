"""Has a module beside it with the name of one of Python's."""
import queue

from metaflow import FlowSpec, step


class Shadowing(FlowSpec):
    @step
    def start(self):
        self.whose = getattr(queue, "MINE", "python's")
        self.next(self.end)

    @step
    def end(self):
        print(self.whose)


if __name__ == "__main__":
    Shadowing()
