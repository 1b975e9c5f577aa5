"""The commands of `pawline`: one table, and one module a command that is imported when the command is called.

`pawline --help` reads the table alone, so it answers without boto3 and the SDK.
"""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Entry(NamedTuple):
    section: str
    help: str


RUN, RESULT, AWS, PARTS = "Run the pipeline", "Look at it and use it", "An account", "Its parts"

# In the order of use. A command's module has its name, with _ for -; the module's docstring continues the help.
TABLE = {
    "run": Entry(RUN, "The main job: upload, upsert, start, follow, predict."),
    "start": Entry(RUN, "Start an execution with parameters: `pawline start Epochs=3 MaxTuningJobs=4`."),
    "status": Entry(RUN, "Where the steps of an execution stand."),
    "logs": Entry(RUN, "What a step's jobs printed."),
    "retry": Entry(RUN, "Go on with a failed or stopped execution from the step that failed."),
    "stop": Entry(RUN, "Stop an execution, or (--server) the embedded SageMaker of this folder."),
    "predict": Entry(RESULT, "Ask the predict function which breed a photo shows."),
    "debug": Entry(RESULT, "What the Debugger rules said of an execution's training."),
    "load-test": Entry(RESULT, "How many requests a second the endpoint answers, and which scaling target follows."),
    "deploy-infra": Entry(AWS, "Deploy infra/template.yaml: bucket, roles, functions, rules, schedule."),
    "doctor": Entry(AWS, "Whether an account can run the pipeline with these parameters, and what to mend."),
    "upsert": Entry(AWS, "Create the pipeline in an account, or update it."),
    "cost": Entry(AWS, "What an execution will cost; with an execution (or `latest`), what it did cost."),
    "schedule": Entry(AWS, "Start the pipeline by itself at an expression's times, with parameters."),
    "unschedule": Entry(AWS, "Switch the schedule off."),
    "idle": Entry(AWS, "The project's endpoints: which nobody asks, and what each costs a month."),
    "ec2-train": Entry(AWS, "Train on one EC2 instance that terminates itself."),
    "destroy": Entry(AWS, "Delete everything that this project made. Lists it first and asks."),
    "lint": Entry(PARTS, "Check a pipeline definition against AWS's own service model."),
    "definition": Entry(PARTS, "Print the pipeline's JSON document."),
    "upload": Entry(PARTS, "Put photos, weights and the code bundle into S3, under content-addressed keys."),
    "sample-data": Entry(PARTS, "Draw a small picture set (deterministic, a few broken files among them)."),
}


class Commands(TyperGroup):
    """The program. Its help lists stand-ins made from the table; only the command that is called is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, command(name) if name else None, rest


def command(name: str) -> Any:
    """The command of that name, made from its module."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    made = typer.Typer(add_completion=False)
    made.command(name, help=f"{TABLE[name].help}\n\n{module.__doc__}")(module.main)
    return typer.main.get_command(made)


program = Commands(
    name="pawline",
    help="Pawline: photos in, classifier out.",
    no_args_is_help=True,
    commands={
        name: TyperCommand(name, help=entry.help, rich_help_panel=entry.section) for name, entry in TABLE.items()
    },
)
