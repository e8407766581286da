"""`python flow.py dalsegno-task …`: what the scheduler asks of a flow file. Nothing is printed: user code may print."""
import json
import os

from metaflow._vendor import click

from . import clone as clone_run
from . import dump as dump_flow
from . import state_machine, told
from .decorator import write_json


@click.group()
def cli():
    pass


@cli.group(name="dalsegno-task", help="What the Dalsegno scheduler asks of a flow.", hidden=True)
def dalsegno_task():
    pass


@dalsegno_task.command(help="Writes what the flow declares to a file, as JSON.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file to write.")
@click.pass_obj
def dump(obj, out):
    write_json(out, dump_flow.dump(obj))


@dalsegno_task.command(help="Clones tasks of an earlier run, as a request file says.")
@click.option("--request", required=True, type=click.Path(dir_okay=False, exists=True))
@click.pass_obj
def clone(obj, request):
    with open(request, encoding="utf-8") as file:
        clone_run.clone(obj, json.load(file)["clone"])


@dalsegno_task.command(name="class", help="Writes the flow's name to a file.")
@click.option("--out", required=True, type=click.Path(dir_okay=False))
@click.pass_obj
def class_name(obj, out):
    write_json(out, obj.flow.name)


@dalsegno_task.command(name="step-functions", help="Deploys the flow to Step Functions, without its triggers.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="The file that tells what was deployed.")
@click.option("--tag", "tags", multiple=True)
@click.option("--batch-tag", "batch_tags", multiple=True)
@click.option("--namespace", default=None)
@click.option("--ours", is_flag=True, help="It was deployed from here before.")
@click.option("--max-workers", default=100, type=click.IntRange(1, 1000))
@click.pass_obj
def step_functions(obj, out, tags, batch_tags, namespace, ours, max_workers):
    write_json(out, state_machine.deploy(obj, tags, batch_tags, namespace, ours, max_workers))


@dalsegno_task.command(help="Writes what tasks told Metaflow's metadata to a file: content by path, as JSON.")
@click.option("--out", required=True, type=click.Path(dir_okay=False))
@click.option("--run-id", required=True)
@click.argument("tasks", nargs=-1)
@click.pass_obj
def metadata(obj, out, run_id, tasks):
    write_json(out, told.read(obj.flow_datastore, run_id, tasks))
