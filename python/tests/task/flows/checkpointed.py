"""Counts on from where an earlier attempt was."""
import os

from metaflow import FlowSpec, checkpoint, current, retry, step


class Checkpointed(FlowSpec):
    @checkpoint(load_policy="fresh")
    @retry(times=3, minutes_between_retries=0)
    @step
    def start(self):
        path = os.path.join(current.checkpoint.directory, "count")
        count = int(open(path).read()) if current.checkpoint.is_loaded else 0
        self.began_at = count
        with open(path, "w") as file:
            file.write(str(count + 1))
        current.checkpoint.save()
        if count < 2:
            raise ValueError("not far enough: %d" % count)
        self.next(self.end)

    @step
    def end(self):
        print("began at", self.began_at)


if __name__ == "__main__":
    Checkpointed()
