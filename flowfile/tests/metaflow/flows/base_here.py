from metaflow import FlowSpec, Parameter, catch, retry, step, trigger


@trigger(event="base_event")
class Base(FlowSpec):
    alpha = Parameter("alpha", default=1)
    beta = Parameter("beta", default="x")

    @retry(times=1)
    @step
    def start(self):
        self.next(self.work)

    @step
    def work(self):
        self.next(self.end)

    @step
    def end(self):
        pass


class BaseHere(Base):
    alpha = Parameter("alpha", default=7)

    @catch(var="wrong")
    @step
    def work(self):
        self.next(self.more)

    @step
    def more(self):
        self.next(self.end)


if __name__ == "__main__":
    BaseHere()
