import metaflow as mf


@mf.schedule(hourly=True)
class ImportAs(mf.FlowSpec):
    alpha = mf.Parameter("alpha", default=1)

    @mf.retry(times=1)
    @mf.step
    def start(self):
        self.next(self.end)

    @mf.step
    def end(self):
        pass


if __name__ == "__main__":
    ImportAs()
