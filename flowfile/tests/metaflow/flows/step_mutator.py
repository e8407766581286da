from metaflow import FlowSpec, StepMutator, step


class Patient(StepMutator):
    def mutate(self, mutable_step):
        mutable_step.add_decorator("retry", deco_kwargs={"times": 1})


class StepMutated(FlowSpec):
    @Patient
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    StepMutated()
