from metaflow import FlowSpec, Parameter, retry, step


class Root(FlowSpec):
    level = Parameter("level", default=0)

    @step
    def start(self):
        self.next(self.work)

    @step
    def work(self):
        self.next(self.end)

    @step
    def end(self):
        pass


class Left(Root):
    level = Parameter("level", default=1)


class Right(Root):
    level = Parameter("level", default=2)

    @retry(times=4)
    @step
    def work(self):
        self.next(self.end)


class BaseDiamond(Left, Right):
    pass


if __name__ == "__main__":
    BaseDiamond()
