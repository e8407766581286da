import functools

from metaflow import FlowSpec, retry, step


def traced(function):
    @functools.wraps(function)
    def inner(self):
        print("before")
        return function(self)

    return inner


class WrappedStep(FlowSpec):
    @retry(times=1)
    @traced
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    WrappedStep()
