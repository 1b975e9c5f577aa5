"""Retrain Lambda: new objects under the raw prefix start the pipeline, once no more of them arrive."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from retraining import Retraining, data_set, postpone

# A folder of photos is thousands of events within minutes: throttled calls are tried again, more slowly.
RETRIES = Config(retries={"mode": "adaptive", "max_attempts": 8})

logger = Logger(service="pawline-retrain")
settings = cache(Retraining.from_environment)
scheduler = cache(lambda: boto3.client("scheduler", config=RETRIES))


@logger.inject_lambda_context(log_event=False)
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Event: EventBridge's "Object Created" of S3. Answer: what will start when, or why nothing will."""
    found = data_set(event, settings().raw_prefix)
    if found is None:
        logger.warning("ignored: the object lies in no data set's folder")
        return {"ignored": "the object lies in no data set's folder"}
    moment = postpone(scheduler(), settings(), found, datetime.now(UTC))
    logger.info("postponed", extra={"data_set": found, "start": moment.isoformat()})
    return {"input_data_uri": found, "start": moment.isoformat()}
