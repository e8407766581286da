from metaflow import FlowSpec, Parameter, project, trigger, trigger_on_finish, step, namespaced_event_name


@project(name="here")
@trigger_on_finish(flows=["UpstreamFlow", {"name": "Other", "project_branch": "prod"}, {"name": "Else", "project": "there"}])
class FinishProject(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    FinishProject()
