from metaflow import FlowSpec, step


class EndsFlow(FlowSpec):
    """Begins and ends with steps that are not called so."""

    @step(start=True)
    def wake(self):
        self.cups = 1
        self.next(self.work)

    @step
    def work(self):
        self.cups += 1
        self.next(self.sleep)

    @step(end=True)
    def sleep(self):
        print("cups", self.cups)


if __name__ == "__main__":
    EndsFlow()
