from metaflow import FlowSpec, JSONType, Parameter, step


class Params(FlowSpec):
    text = Parameter("text", default="t")
    number = Parameter("number", default=3)
    ratio = Parameter("ratio", default=0.25, help="How much")
    flag = Parameter("flag", default=True, type=bool)
    typed = Parameter("typed", type=int)
    needed = Parameter("needed", required=True, type=float)
    given = Parameter("given", required=True, default="x")
    shape = Parameter("shape", type=JSONType, default='{"a": [1, 2]}')
    shape2 = Parameter("shape2", type=JSONType, default={"b": None})
    tag = Parameter("tag-name", default="latest")
    named = Parameter(name="named", default=-4)
    positional = Parameter("positional", "p", str, "Help text", False)
    several = Parameter("several", multiple=True, default=["a", "b"])
    split = Parameter("split", separator=",", default="a,b")
    whole = Parameter("whole", type=float, default=2)
    word = Parameter("word", type=str, default=5)
    yes = Parameter("yes", type=bool, default="yes")
    annotated: int = Parameter("annotated", default=8)
    nothing = Parameter("nothing", default=None)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Params()
