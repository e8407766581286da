from metaflow import FlowMutator, FlowSpec, Parameter, step


class AddRetry(FlowMutator):
    def pre_mutate(self, mutable_flow):
        for name, one in mutable_flow.steps:
            one.add_decorator("retry", deco_kwargs={"times": 2})


@AddRetry
class FlowMutated(FlowSpec):
    alpha = Parameter("alpha", default=1)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FlowMutated()
