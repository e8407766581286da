from metaflow import FlowSpec, Parameter, step


class SwitchFlow(FlowSpec):
    """A switch of three ways, with a switch behind one of them; texts and numbers as keys."""

    way = Parameter("way", default="mountain")

    @step
    def start(self):
        self.taken = []
        self.next({"sea": self.sea, "mountain": self.mountain, "town": self.town}, condition="way")

    @step
    def sea(self):
        self.taken = self.taken + ["sea"]
        self.next(self.home)

    @step
    def town(self):
        self.taken = self.taken + ["town"]
        self.next(self.home)

    @step
    def mountain(self):
        self.taken = self.taken + ["mountain"]
        self.height = 2
        self.next({1: self.hill, 2: self.summit}, condition="height")

    @step
    def hill(self):
        self.taken = self.taken + ["hill"]
        self.next(self.home)

    @step
    def summit(self):
        self.taken = self.taken + ["summit"]
        self.next(self.home)

    @step
    def home(self):
        self.next(self.end)

    @step
    def end(self):
        print(" > ".join(self.taken))


if __name__ == "__main__":
    SwitchFlow()
