from metaflow import FlowSpec, Parameter, step


class OneStepFlow(FlowSpec):
    """Begins and ends with the same step."""

    word = Parameter("word", default="only")

    @step(start=True, end=True)
    def everything(self):
        print(self.word)
        self.said = self.word


if __name__ == "__main__":
    OneStepFlow()
