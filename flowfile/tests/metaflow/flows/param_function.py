from metaflow import FlowSpec, Parameter, step
def today(context):
    return "2026-11-22"


class ParamFunction(FlowSpec):
    day = Parameter("day", default=today)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParamFunction()
