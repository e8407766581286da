from metaflow import *


@trigger(event="stars")
class ImportStar(FlowSpec):
    alpha = Parameter("alpha", type=JSONType, default="[1, 2]")

    @catch(var="oh")
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ImportStar()
