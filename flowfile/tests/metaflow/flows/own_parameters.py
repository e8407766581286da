from metaflow import FlowSpec, Parameter, schedule, step


def common(name):
    return Parameter(name, default=3, type=int)


@schedule(daily=True)
class OwnParameters(FlowSpec):
    rows = common("rows")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    OwnParameters()
