"""All that a flow can declare: configs, a project, parameters of every kind, secrets, cards, hooks, a trigger."""
import json

from metaflow import (
    Config, FlowSpec, IncludeFile, JSONType, Parameter, card, config_expr, current, exit_hook, project, resources, retry,
    schedule, secrets, step, timeout, trigger,
)

print(json.dumps({"a": "line of JSON"}))


def cheer(run):
    print("hook: the run is", "done" if run.successful else "not done", run.data.alpha)


def mourn():
    print("hook: it failed")


def deploy_time(context):
    return context.flow_name + "-default"


def lines(text):
    return {"lines": text.split()}


@project(name="declared")
@schedule(hourly=True)
@trigger(event={"name": "arrived", "parameters": {"alpha": "first"}})
@exit_hook(on_success=[cheer], on_error=[mourn])
class Declared(FlowSpec):
    limits = Config("limits", default="declared.json")
    texts = Config("texts", default="declared.txt", parser=lines)
    alpha = Parameter("alpha", default=0.5, help="a number")
    tag_name = Parameter("tag-name", default=deploy_time, type=str)
    names = Parameter("names", type=JSONType, default='{"a": [1]}')
    many = Parameter("many", default="a,b", separator=",")
    text = IncludeFile("text", default="declared.txt")

    @secrets(sources=[{"type": "inline", "id": "here", "options": {"env_vars": {"SECRET": "open"}}}])
    @card(type="blank")
    @timeout(seconds=config_expr("limits.limit"))
    @retry(times=1, minutes_between_retries=0)
    @resources(cpu=1)
    @step
    def start(self):
        import os

        self.seen = [
            self.alpha, self.tag_name, self.names, self.many, self.text, self.limits.deep.name, self.texts.lines,
            os.environ["SECRET"], current.project_flow_name, [one.name for one in current.trigger.events],
        ]
        self.next(self.end)

    @step
    def end(self):
        print(self.seen)


if __name__ == "__main__":
    Declared()
