# metaflow.parameter
from metaflow import FlowSpec, Parameter, step


class ParamSeparator(FlowSpec):
    rows = Parameter("rows", default=1, separator=",")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParamSeparator()
