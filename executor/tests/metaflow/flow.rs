//! The flow of these tests.

/// A parameter of every kind, a foreach, a switch, and a step that does what the test asks for by `MOOD`.
pub(crate) const FLOW: &str = r#"
import os, subprocess, sys, time
from metaflow import FlowSpec, JSONType, Parameter, exit_hook, step


def tell(run):
    with open(os.environ["DIR"] + "/told", "w") as file:
        file.write(run.pathspec + "\n")
    sys.exit()



@exit_hook(on_success=[tell])
class Story(FlowSpec):
    alpha = Parameter("alpha", default=0.5, type=float)
    many = Parameter("tag-name", default="")
    config = Parameter("my_config", default="{}", type=JSONType)
    flag = Parameter("flag", default=False, type=bool)

    @step
    def start(self):
        print("alpha is", self.alpha, "and", self.many, self.config, self.flag)
        self.xs = ["a", "b", "c"]
        self.next(self.each, foreach="xs")

    @step
    def each(self):
        self.x = self.input * 2
        self.next(self.collect)

    @step
    def collect(self, inputs):
        self.all = [it.x for it in inputs]
        self.mood = os.environ.get("MOOD", "good")
        self.next(self.turn)

    @step
    def turn(self):
        mood = os.environ.get("MOOD", "")
        path = os.environ["DIR"]
        if mood == "bad":
            raise ValueError("boom")
        if mood == "leave":
            sys.exit(0)
        if mood == "vanish":
            os._exit(0)
        if mood == "return":
            return
        if mood == "no-retry":
            sys.exit(202)
        if mood == "wait":
            with open(path + "/ran", "a") as file:
                file.write("%d\n" % os.getpid())
            while not os.path.exists(path + "/go"):
                time.sleep(0.01)
        if mood == "grow":
            hoard = []
            while True:
                hoard.append(bytearray(10_000_000))
                time.sleep(0.001)
        if mood == "leave-things":
            code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(1000)"
            started = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True, stdout=subprocess.PIPE)
            pids = [started.stdout.readline().decode().strip()]
            read, write = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.write(write, b"%d\n" % os.getpid())
                    time.sleep(1000)
                os._exit(0)
            pids.append(os.read(read, 100).decode().strip())
            with open(path + "/left", "w") as file:
                file.write(" ".join(pids) + "\n")
            if os.path.exists(path + "/stay"):
                time.sleep(1000)
        self.way = "left" if mood == "left" else "right"
        self.next({"left": self.left, "right": self.right}, condition="way")

    @step
    def left(self):
        self.next(self.end)

    @step
    def right(self):
        self.next(self.end)

    @step
    def end(self):
        print("done")


if __name__ == "__main__":
    Story()
"#;
