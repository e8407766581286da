from metaflow import Config, FlowSpec, step


class ConfigSwitch(FlowSpec):
    cfg = Config("cfg", default_value={"one": "x", "two": "y"})

    @step
    def start(self):
        self.choice = "x"
        self.next({self.cfg.one: self.a, self.cfg.two: self.b}, condition="choice")

    @step
    def a(self):
        self.next(self.end)

    @step
    def b(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ConfigSwitch()
