from metaflow import Config, FlowSpec, config_expr, project, retry, schedule, step


@project(name=config_expr("settings.project"))
@schedule(cron=config_expr("settings.cron"))
class ConfigFlow(FlowSpec):
    settings = Config("settings", default_value={"project": "from_config", "cron": "0 4 * * ? *", "times": 2})

    @retry(times=config_expr("settings.times"))
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ConfigFlow()
