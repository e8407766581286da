from metaflow import FlowSpec, Parameter, retry, step

KW = {"default": 3, "type": int, "help": "how many"}
SETTINGS = {"times": [1, 2]}
retry = retry(times=SETTINGS["times"][1])
print("settings", len(SETTINGS))


class ParamForms(FlowSpec):
    a, b = Parameter("a", default=1), Parameter("b", default="t")
    c = Parameter("c", **KW)
    gone = Parameter("gone", default=1)
    del gone

    @retry
    @step
    def start(self):
        SETTINGS.clear()
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ParamForms()
