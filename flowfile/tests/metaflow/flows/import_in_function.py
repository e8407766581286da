from metaflow import FlowSpec, step
from metaflow.decorators import FlowDecorator  # only to have seen a deeper import


def unused():
    from shared import TIMES

    return TIMES


class ImportInFunction(FlowSpec):
    @step
    def start(self):
        from helpers.numbers import double

        print(double(2))
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ImportInFunction()
