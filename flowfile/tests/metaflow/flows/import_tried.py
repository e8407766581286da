try:
    from metaflow import FlowSpec, step
    from metaflow import retry
except ImportError:
    raise SystemExit("no metaflow")

try:
    import json as j
except ImportError:
    j = None


class ImportTried(FlowSpec):
    @retry(times=1)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        print(j)


if __name__ == "__main__":
    ImportTried()
