"""A stand-in for the AWS CLI: `aws s3 cp` of one file, `aws s3 sync` of a prefix into a folder."""

import argparse
from pathlib import Path

import boto3


def main() -> None:
    parser = argparse.ArgumentParser(prog="aws")
    parser.add_argument("service", choices=["s3"])
    parser.add_argument("command", choices=["cp", "sync"])
    parser.add_argument("--only-show-errors", action="store_true")
    parser.add_argument("source")
    parser.add_argument("target")
    given = parser.parse_args()
    s3 = boto3.client("s3")
    if given.command == "sync":
        bucket, prefix = split(given.source)
        prefix = prefix.rstrip("/") + "/"
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            path = Path(given.target, entry["Key"].removeprefix(prefix))
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, entry["Key"], str(path))
    elif given.source.startswith("s3://"):
        s3.download_file(*split(given.source), given.target)
    else:
        s3.upload_file(given.source, *split(given.target))


def split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


if __name__ == "__main__":
    main()
