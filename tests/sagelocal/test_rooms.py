"""The rooms of sagelocal: who may import whom, and no circle of rooms or files."""

from pathlib import Path

from tests.import_graph import assert_no_circle, between, imports_within

PACKAGE = Path(__file__).resolve().parents[2] / "sagelocal"
# The other rooms that a room may import. A service may import those that AWS's service works with.
ROOMS = {
    "sagelocal": set(),  # the version
    "core": {"sagelocal"},
    "definition": {"core"},
    "runtime": {"core", "services.iam", "services.logs", "services.s3"},
    "services": set(),  # finds the others by walking its folder
    "services.cloudformation": {"core"},
    "services.logs": {"core"},
    "services.servicequotas": {"core"},
    "services.iam": {"core", "services.cloudformation"},
    "services.sts": {"core", "services.iam"},
    "services.sqs": {"core", "services.cloudformation"},
    "services.events": {"core", "services.cloudformation", "services.iam"},
    "services.scheduler": {"core", "services.events"},
    "services.cloudwatch": {"core", "services.cloudformation", "services.events"},
    "services.s3": {"core"} | {f"services.{name}" for name in ("cloudformation", "cloudwatch", "events", "iam")},
    "services.ecr": {"core", "runtime"},
    "services.awslambda": {"core", "runtime"}
    | {f"services.{name}" for name in ("cloudformation", "cloudwatch", "events", "iam", "logs", "s3")},
    "services.sagemaker": {"core", "definition", "runtime"}
    | {f"services.{name}" for name in ("cloudformation", "cloudwatch", "iam", "logs", "s3")},
    "services.autoscaling": {"core"} | {f"services.{name}" for name in ("cloudwatch", "sagemaker", "scheduler")},
    "gateway": {"sagelocal", "core", "services"}
    | {f"services.{name}" for name in ("awslambda", "cloudwatch", "iam", "s3")},
    "cli": {"sagelocal", "core", "definition", "gateway", "runtime", "services.cloudwatch"},
}


def room(module: str) -> str:
    parts = module.split(".")
    if parts[1:] == ["__main__"]:
        return "cli"
    return ".".join(parts[1:3]) if parts[1:2] == ["services"] else ".".join(parts[1:2] or parts)


def test_a_room_imports_only_what_the_table_allows():
    arrows = between(room, imports_within(PACKAGE))
    assert set(arrows) == set(ROOMS)
    wrong = {name: targets - ROOMS[name] for name, targets in arrows.items() if targets - ROOMS[name]}
    assert not wrong


def test_no_rooms_and_no_files_import_each_other_in_a_circle():
    imports = imports_within(PACKAGE)
    assert_no_circle(imports)
    assert_no_circle(between(room, imports))
