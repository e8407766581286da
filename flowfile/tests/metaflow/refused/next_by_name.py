# metaflow.bad_next
from metaflow import FlowSpec, step


class NextByName(FlowSpec):
    @step
    def start(self):
        self.next("end")

    @step
    def end(self):
        pass


if __name__ == "__main__":
    NextByName()
