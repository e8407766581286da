"""`python flow.py dalsegno-task …`: what the scheduler asks of a flow file. Nothing is printed: user code may print."""
import json
import os

from metaflow._vendor import click

from . import clone as clone_run
from . import dump as dump_flow
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
