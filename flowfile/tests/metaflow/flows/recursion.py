from metaflow import FlowSpec, step


class Recursion(FlowSpec):
    @step
    def start(self):
        self.next(self.loop)

    @step
    def loop(self):
        self.next({'again': self.loop, 'done': self.end}, condition="choice")

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Recursion()
