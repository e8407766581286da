from metaflow import FlowSpec, environment, step

VARS = {"A": "1"}
VARS["B"] = "2"


class ChangedConstant(FlowSpec):
    @environment(vars=VARS)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ChangedConstant()
