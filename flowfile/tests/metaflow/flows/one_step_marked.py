from metaflow import FlowSpec, retry, step


class OneStepMarked(FlowSpec):
    @retry
    @step(start=True, end=True)
    def only(self):
        print("only")


if __name__ == "__main__":
    OneStepMarked()
