"""`python flow.py dalsegno …`: deploy a flow to a Dalsegno daemon and look after its runs there."""

import json

from metaflow._vendor import click
from metaflow.tagging_util import validate_tags
from metaflow.util import get_username

from . import parameters
from .api import Api, quote
from .errors import DalsegnoError
from .runs import metaflow_id, rerun, resume_run, start
from .states import states, status as status_of

attribute_file = click.option(
    "--deployer-attribute-file",
    default=None,
    type=str,
    hidden=True,
    help="Write what came of it to this file, for Metaflow's Deployer API.",
)
run_id_file = click.option(
    "--run-id-file", default=None, type=str, help="Write the ID of this run to the file specified."
)


@click.group()
def cli():
    pass


@cli.group(help="Commands related to Dalsegno.")
@click.option(
    "--server",
    default=None,
    type=str,
    help="The daemon's URL; else DALSEGNO_URL, else http://127.0.0.1:8320. A token is taken from DALSEGNO_TOKEN only.",
)
@click.pass_obj
def dalsegno(obj, server=None):
    from .deployment import name_of

    obj.dalsegno = Api(server)
    obj.dalsegno_flow = name_of(obj)


def deployment_options(command):
    for option in (
        click.option("--tag", "tags", multiple=True, default=None, help="Tag all runs. May be given several times."),
        click.option(
            "--namespace",
            "user_namespace",
            default=None,
            help="The namespace in which tasks look for other runs; by default that of the user who deploys.",
        ),
        click.option(
            "--strategy",
            default=None,
            help="What becomes of a run while others of this flow are unfinished: `sequential`, `strict_sequential`, "
            "`first_only`, `last_only`, `serial_latest_only`, or `parallel(N)`; by default up to 16 run at once.",
        ),
    ):
        command = option(command)
    return command


@dalsegno.command(help="Deploy a new version of this flow to Dalsegno.")
@deployment_options
@click.option("--only-json", is_flag=True, default=False, help="Print what would be sent, and deploy nothing.")
@attribute_file
@click.pass_obj
def create(obj, tags=None, user_namespace=None, strategy=None, only_json=False, deployer_attribute_file=None):
    deployment = deployment_of(obj, tags, user_namespace, strategy)
    if only_json:
        write_attributes(obj, deployer_attribute_file, request=deployment.shown())
        click.echo(json.dumps(deployment.shown(), indent=2))
        return
    obj.echo("Deploying *%s* to Dalsegno..." % obj.dalsegno_flow, bold=True)
    answer = obj.dalsegno.post("/metaflow/deployments", deployment.request())
    obj.dalsegno_flow = answer["flow"]
    files = [it["name"] for it in deployment.body["dump"]["parameters"] if it["type"] == "FilePath"]
    write_attributes(obj, deployer_attribute_file, version=answer.get("version"), files=files)
    said = "deployed as version %s" if answer.get("created", True) else "unchanged since version %s"
    obj.echo("Flow *%s* is %s." % (answer["flow"], said % answer["version"]), bold=True)
    for warning in answer.get("warnings") or []:
        obj.echo("warning: %s" % warning)
    obj.echo("See it at %s/flows/%s" % (obj.dalsegno.url, quote(answer["flow"])))
    tell_starts(obj, obj.dalsegno.flow(answer["flow"]))


@dalsegno.command(help="Show what `create` would send, without sending it.")
@deployment_options
@click.pass_obj
def show(obj, tags=None, user_namespace=None, strategy=None):
    shown = deployment_of(obj, tags, user_namespace, strategy).shown()
    package = shown.pop("package")
    dump = shown.pop("dump")
    rows = [("flow", obj.dalsegno_flow), ("daemon", obj.dalsegno.url)]
    rows += [(name, value) for name, value in shown.items() if value not in (None, [], False) and name != "storage"]
    rows += [("storage", "%(datastore)s at %(root)s, metadata %(metadata)s" % shown["storage"])]
    rows += [("steps", ", ".join(dump["steps"]))]
    rows += [("parameters", ", ".join(it["name"] for it in dump["parameters"]) or "none")]
    for name, value in rows:
        click.echo("%-12s %s" % (name, ", ".join(value) if isinstance(value, list) else value))
    click.echo("%-12s %d files, %d bytes packed" % ("code", len(package["files"]), package["bytes"]))
    for name in package["files"]:
        click.echo("             %s" % name)


@parameters.options(needed=True)
@dalsegno.command(help="Start a run of the deployed flow.")
@run_id_file
@click.pass_obj
def trigger(obj, run_id_file=None, **values):
    params = parameters.given(obj.flow, values)
    started = start(obj.dalsegno, obj.dalsegno_flow, params)
    tell_run(obj, started, "triggered", run_id_file)


@parameters.options(needed=False)
@dalsegno.command(
    help="Make a run that begins with the finished tasks of an earlier one and runs the rest. "
    "Parameters that are not given are the earlier run's."
)
@click.option("--origin-run-id", default=None, help="The earlier run; by default the newest of this flow.")
@click.option("--step-to-rerun", default=None, help="Run this step and all that follow it again, even if they succeeded.")
@click.option(
    "--in-place", is_flag=True, default=False, help="Go on with the same run instead of making one; its parameters stay."
)
@run_id_file
@click.pass_obj
def resume(obj, origin_run_id=None, step_to_rerun=None, in_place=False, run_id_file=None, **values):
    params = parameters.given(obj.flow, values)
    if in_place and params:
        raise DalsegnoError(
            "A run that goes on in place keeps its parameters. Leave out %s, or --in-place to make a new run."
            % ", ".join("--" + name for name in sorted(params))
        )
    origin = obj.dalsegno.run(origin_run_id) if origin_run_id else newest(obj)
    if in_place:
        tell_run(obj, resume_run(obj.dalsegno, origin, step_to_rerun), "goes on", run_id_file)
    else:
        resumed = rerun(obj.dalsegno, origin, step_to_rerun, params)
        tell_run(obj, resumed, "resumed from *%s*" % metaflow_id(origin), run_id_file)


@dalsegno.command(help="Show the deployed flow and its newest runs, or one run and why it stands as it does.")
@click.argument("run-id", required=False, type=str)
@click.pass_obj
def status(obj, run_id=None):
    if run_id:
        run = obj.dalsegno.run(run_id)
        tell_line(run)
        for why in obj.dalsegno.why(run):
            click.echo("  %s: %s" % (why["subject"], why["text"]))
            if why.get("cure"):
                click.echo("    %s" % why["cure"])
        return
    flow = obj.dalsegno.flow(obj.dalsegno_flow)
    click.echo("%s (version %s): %s" % (flow["name"], flow.get("active_version"), flow["state"]))
    tell_starts(obj, flow)
    for run in obj.dalsegno.runs(flow["name"], limit=10):
        tell_line(run)


@dalsegno.command(help="List the runs of the deployed flow, newest first.")
@click.option("--pending", is_flag=True, default=False, help="Runs that wait for their turn.")
@click.option("--running", is_flag=True, default=False)
@click.option("--succeeded", is_flag=True, default=False)
@click.option("--failed", is_flag=True, default=False)
@click.option("--timed-out", is_flag=True, default=False)
@click.option("--aborted", is_flag=True, default=False, help="Runs that were cancelled.")
@click.option("--limit", default=None, type=int, help="At most so many.")
@click.pass_obj
def list_runs(obj, limit=None, **wanted):
    names = [name.upper() for name, on in wanted.items() if on]
    found = 0
    for run in obj.dalsegno.runs(obj.dalsegno_flow, states(names), limit):
        found += 1
        tell_line(run)
    if not found:
        kind = " ".join(filter(None, [" or ".join(names).lower().replace("_", " "), "runs"]))
        obj.echo("No %s of *%s* in Dalsegno." % (kind, obj.dalsegno_flow))


@dalsegno.command(help="Stop a run: its tasks are killed.")
@click.argument("run-id", required=True, type=str)
@click.option("--reason", default=None, help="Why, for whoever asks later.")
@click.pass_obj
def terminate(obj, run_id, reason=None):
    run = obj.dalsegno.run(run_id)
    obj.dalsegno.post("/runs/%s/cancel" % run["id"], {"by": get_username(), "reason": reason})
    obj.echo("Run *%s* is being stopped." % metaflow_id(run), bold=True)


@dalsegno.command(help="Remove the deployed flow: nothing starts it any more. Runs that are under way go on.")
@click.pass_obj
def delete(obj):
    obj.dalsegno.delete("/flows/" + quote(obj.dalsegno_flow))
    obj.echo("Flow *%s* is removed from Dalsegno." % obj.dalsegno_flow, bold=True)


def deployment_of(obj, tags, namespace, strategy):
    from .deployment import Deployment

    validate_tags(tags)
    return Deployment(obj, tags or (), namespace, strategy)


def newest(obj):
    for run in obj.dalsegno.runs(obj.dalsegno_flow, limit=1):
        return run
    raise DalsegnoError("Flow %s has no runs yet, so there is none to resume." % obj.dalsegno_flow)


def write_attributes(obj, path, **more):
    """Tells the Deployer in another process what this command did."""
    if path:
        attributes = {"name": obj.dalsegno_flow, "flow_name": obj.flow.name, "metadata": obj.metadata.metadata_str()}
        with open(path, "w") as file:
            json.dump({**attributes, "additional_info": more}, file)


def tell_run(obj, run, done, path):
    if path:
        with open(path, "w") as file:
            file.write(metaflow_id(run))
    obj.echo("Flow *%s* %s on Dalsegno (run-id *%s*)." % (run["flow"], done, metaflow_id(run)), bold=True)
    obj.echo("See the run at %s/runs/%s" % (obj.dalsegno.url, run["id"]))


def tell_line(run):
    times = [(word, run.get(name)) for word, name in (("created", "created_at"), ("finished", "finished_at"))]
    times = ["%s %s" % (word, time) for word, time in times if time]
    click.echo("%s  %-9s  %s" % (metaflow_id(run), status_of(run), ", ".join(times)))


def tell_starts(obj, flow):
    """What starts it on its own, and when that happens next."""
    starts = flow.get("starts") or "only people start it"
    obj.echo("What starts it: %s" % starts)
    if flow.get("next_at"):
        obj.echo("Next at %s" % flow["next_at"])
