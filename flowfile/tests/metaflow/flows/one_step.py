from metaflow import FlowSpec, step


class OneStep(FlowSpec):
    @step
    def only(self):
        pass


if __name__ == "__main__":
    OneStep()
