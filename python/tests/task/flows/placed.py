"""Decorators that name a place to run: none of them is there."""
from metaflow import FlowSpec, batch, conda, kubernetes, pypi, step


class Placed(FlowSpec):
    @batch(cpu=2, image="x")
    @step
    def start(self):
        self.next(self.middle)

    @kubernetes(memory=100)
    @conda(libraries={"numpy": "1"})
    @step
    def middle(self):
        self.next(self.end)

    @pypi(packages={"numpy": "1"})
    @step
    def end(self):
        pass


if __name__ == "__main__":
    Placed()
