from metaflow import FlowSpec, IncludeFile, step


class IncludesFile(FlowSpec):
    data = IncludeFile("data", default="shared.py", help="A file")
    other = IncludeFile("other", required=False, is_text=False)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    IncludesFile()
