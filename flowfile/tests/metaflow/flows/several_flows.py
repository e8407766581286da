from metaflow import FlowSpec, schedule, step


class NotThisOne(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


@schedule(hourly=True)
class SeveralFlows(FlowSpec):
    @step
    def start(self):
        self.next(self.middle)

    @step
    def middle(self):
        self.next(self.end)

    @step
    def end(self):
        pass


class NorThis(SeveralFlows):
    pass


if __name__ == "__main__":
    SeveralFlows()
