"""It stays, switched off, as part of the stack that made it."""

from pipeline import schedule
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, tell


def main(aws: AwsOption = False, as_json: JsonOption = False) -> None:
    found = schedule.unschedule(connect(aws=aws))
    tell(found, as_json, f"Schedule {found['schedule']}: {found['change']}.")
