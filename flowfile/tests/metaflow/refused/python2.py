# metaflow.python2
from metaflow import FlowSpec, step


class Python2(FlowSpec):
    @step
    def start(self):
        print "hello"
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Python2()
