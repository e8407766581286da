"""Deploys a flow to Step Functions by Metaflow's own compiler, without what would start it there."""

# Who deploys by us is started by us: rules in EventBridge would start it a second time.
STARTED_BY_US = ("schedule", "trigger", "trigger_on_finish")


def deploy(obj, tags, batch_tags, namespace, ours, max_workers):
    """Makes or updates the state machine, and tells what it is called.

    What Metaflow refuses to compile (switches, `@parallel`, `@exit_hook`) and what is not configured (an IAM role, a job
    queue, a table for foreach) ends the command with Metaflow's own words.
    """
    from metaflow.plugins.aws.step_functions import step_functions_cli as own

    obj.check(obj.graph, obj.flow, obj.environment, pylint=False)
    left_out = [name for name in STARTED_BY_US if obj.flow._flow_decorators.pop(name, None)]
    name, token_prefix, is_project = own.resolve_state_machine_name(obj, None)
    # Metaflow keeps its token in a home that may be gone by now; who deployed the machine needs nobody's leave.
    before = own.StepFunctions.get_existing_deployment(name) if ours else None
    token = own.resolve_token(name, token_prefix, obj, before and before[1], None, False, is_project)
    machine = own.make_flow(
        obj, token, name, list(tags), batch_tags, namespace, max_workers, None, is_project, use_distributed_map=False,
    )
    machine.deploy(log_execution_history=False)
    return {"name": name, "arn": machine._state_machine_arn, "left_out": left_out}
