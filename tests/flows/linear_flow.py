from metaflow import FlowSpec, JSONType, Parameter, current, step


class LinearFlow(FlowSpec):
    """Parameters of all kinds, and what a step hands to the next."""

    alpha = Parameter("alpha", default=0.5)
    count = Parameter("count", default=3)
    loud = Parameter("loud", default=False)
    label = Parameter("tag-name", default="x y $HOME 'quoted' \"twice\"")
    names = Parameter("names", type=JSONType, default='["ä", {"b": null}]')

    @step
    def start(self):
        print("alpha", self.alpha, "count", self.count, "loud", self.loud)
        self.seen = [self.alpha, self.count, self.loud, self.label, self.names]
        self.next(self.middle)

    @step
    def middle(self):
        self.doubled = {"alpha": self.alpha * 2, "bytes": list(b"\x00\xff")}
        self.where = [current.flow_name, current.step_name, current.retry_count]
        self.next(self.end)

    @step
    def end(self):
        print("doubled", self.doubled)


if __name__ == "__main__":
    LinearFlow()
