"""Into your AWS account unless --local. Checks the definition first, and says what changed."""

from pipeline.cloud import connect
from pipeline.commands.shared import AwsByDefaultOption, JsonOption, tell
from pipeline.upload import upload_code
from pipeline.upsert import upsert


def main(aws: AwsByDefaultOption = True, as_json: JsonOption = False) -> None:
    cloud = connect(aws=aws)
    upload_code(cloud.client("s3"), cloud.settings)
    done = upsert(cloud)
    answer = {"pipeline_arn": done.arn, "change": done.change, "diff": done.diff}
    tell(answer, as_json, "\n".join([*done.diff, f"{done.arn}: {done.change}"]))
