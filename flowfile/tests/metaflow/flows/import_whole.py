import metaflow


@metaflow.project(name="whole")
class ImportWhole(metaflow.FlowSpec):
    @metaflow.timeout(seconds=30)
    @metaflow.step
    def start(self):
        self.next(self.end)

    @metaflow.step
    def end(self):
        pass


if __name__ == "__main__":
    ImportWhole()
