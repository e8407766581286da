from metaflow import FlowSpec, Parameter, schedule, step
def today(context):
    return "2026-11-22"


@schedule(daily=True)
class ParamFunctionScheduled(FlowSpec):
    day = Parameter("day", default=today)
    rows = Parameter("rows", default=lambda context: 3, type=int)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParamFunctionScheduled()
