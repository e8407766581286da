# metaflow.parameter
from metaflow import FlowSpec, Parameter, step


class ParamReserved(FlowSpec):
    tags = Parameter("tags", default="a")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParamReserved()
