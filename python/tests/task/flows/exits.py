"""Ways to end a step."""
import os
import signal
import sys
import threading

from metaflow import FlowSpec, Parameter, step


class Unfit(Exception):
    pass


class Exits(FlowSpec):
    how = Parameter("how", default="well")

    @step
    def start(self):
        print("about to end by", self.how)
        end = getattr(self, "by_" + self.how, None)
        if end is not None and end():
            return
        self.next(self.end)

    def by_exit_none(self):
        sys.exit()

    def by_exit_0(self):
        sys.exit(0)

    def by_exit_3(self):
        sys.exit(3)

    def by_exit_300(self):
        sys.exit(300)

    def by_exit_text(self):
        sys.exit("that is all")

    def by_exit_202(self):
        sys.exit(202)

    def by_os_exit(self):
        os._exit(7)

    def by_return(self):
        return True

    def by_error(self):
        raise Unfit("not today\nsecond line")

    def by_odd_error(self):
        raise Unfit(os.fsdecode(b"caf\xe9.csv"))

    def by_clearing_up(self):
        os.environ.clear()
        os.chdir("/")

    def by_fork(self):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            os._exit(7)

    def by_interrupt(self):
        raise KeyboardInterrupt()

    def by_signal(self):
        os.kill(os.getpid(), signal.SIGTERM)

    def by_segfault(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def by_unpicklable(self):
        self.lock = threading.Lock()

    def by_thread_error(self):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Exits()
