from metaflow import FlowSpec, Parameter, schedule, step


@schedule(daily=True)
class SharedBase(FlowSpec):
    """A base with a start and an end."""

    size = Parameter("size", default=10)

    @step
    def start(self):
        self.next(self.middle)

    @step
    def end(self):
        pass
