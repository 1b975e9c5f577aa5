"""Credentials, region, bucket, roles, permissions, quotas, images: pass, warn or fail, with the fix for each."""

import sys

from pipeline import doctor
from pipeline.cloud import connect
from pipeline.commands.shared import AwsOption, JsonOption, ParametersArgument, checked, tell


def main(parameters: ParametersArgument = None, aws: AwsOption = False, as_json: JsonOption = False) -> None:
    values = checked(parameters)
    findings = doctor.examine(lambda: connect(aws=aws), values)
    tell(doctor.as_data(findings), as_json, lambda: doctor.show(findings))
    sys.exit(0 if doctor.healthy(findings) else 1)
