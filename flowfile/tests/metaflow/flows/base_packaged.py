from metaflow import step

from helpers.bases import PackagedBase


class BasePackaged(PackagedBase):
    @step
    def middle(self):
        self.next(self.end)


if __name__ == "__main__":
    BasePackaged()
