from metaflow import FlowSpec, Parameter, environment, step


class Settings:
    region = Parameter("region", default="eu")
    debug = Parameter("debug", default=False, type=bool)


class Ends(object):
    @environment(vars={"LAST": "1"})
    @step
    def end(self):
        pass


class BaseMixin(Settings, Ends, FlowSpec):
    @step
    def start(self):
        self.next(self.end)


if __name__ == "__main__":
    BaseMixin()
