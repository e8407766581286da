# metaflow.start_end
from metaflow import FlowSpec, step


class StartAgain(FlowSpec):
    @step
    def start(self):
        self.next({True: self.start, False: self.end}, condition="more")

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StartAgain()
