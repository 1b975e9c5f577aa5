"""The dated price table, prices.json, and how it is renewed from AWS's Pricing API."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from pipeline import hints
from pipeline.cloud import Cloud
from pipeline.errors import UserError

FILE = Path(__file__).with_name("prices.json")
PRICING_REGION = "us-east-1"  # the Pricing API is answered in few regions; it knows the prices of all
USES = ("Training", "Processing", "Hosting")
HOURS_PER_MONTH = 730


@dataclass(frozen=True)
class Prices:
    """US dollars per instance hour, by instance type, and per GB-month of an instance's volume."""

    hourly: dict[str, float]
    storage_gb_month: float
    source: str
    date: str
    region: str
    unverified: frozenset[str]

    def of(self, instance_type: str) -> float:
        """The price of an hour. Raises UserError for a type that the table does not have."""
        if instance_type not in self.hourly:
            raise UserError(
                f"There is no price for {instance_type} in {FILE.name} ({self.region}, {self.date}).",
                f"Choose another instance type, or ask AWS: {hints.REFRESH_PRICES}",
            )
        return self.hourly[instance_type]

    def storage(self, gigabytes: float, seconds: float) -> float:
        return self.storage_gb_month * gigabytes * seconds / (HOURS_PER_MONTH * 3600)


def load(path: Path = FILE) -> Prices:
    """The table as it is in the repository."""
    known = json.loads(path.read_text())
    known["unverified"] = frozenset(known["unverified"])
    return Prices(**{each.name: known[each.name] for each in fields(Prices)})


def refresh(cloud: Cloud, path: Path = FILE) -> Prices:
    """Write the table anew from the Pricing API, for the account's region. Raises UserError; the old one stays then."""
    region = cloud.settings.region
    try:
        pages = cloud.session.client("pricing", region_name=PRICING_REGION).get_paginator("get_products")
        products = pages.paginate(
            ServiceCode="AmazonSageMaker",
            Filters=[
                {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region},
                {"Type": "TERM_MATCH", "Field": "productFamily", "Value": "ML Instance"},
            ],
        )
        hourly = hourly_prices(json.loads(text) for page in products for text in page["PriceList"])
    except (BotoCoreError, ClientError) as error:
        why = error.response["Error"]["Code"] if isinstance(error, ClientError) else error
        raise UserError(
            f"The Pricing API gave no prices: {why}.", "It needs an AWS account (--aws) and pricing:GetProducts."
        ) from None
    if not hourly:
        raise UserError(f"The Pricing API has no SageMaker instances in {region}.", "Check the region (AWS_REGION).")
    known = json.loads(path.read_text())
    renewed = {
        **known,
        "source": f"AWS Pricing, Amazon SageMaker, {region}, on demand",
        "date": date.today().isoformat(),
        "how": "asked from the Pricing API; the highest of training, processing and hosting",
        "region": region,
        "unverified": [],
        "hourly": dict(sorted(hourly.items())),
    }
    path.write_text(json.dumps(renewed, indent=2) + "\n")
    return load(path)


def hourly_prices(products: Iterable[dict]) -> dict[str, float]:
    """On-demand dollars an hour by instance type, from the Pricing API's products; the highest where uses differ."""
    hourly: dict[str, float] = {}
    for product in products:
        attributes = product["product"]["attributes"]
        named = attributes.get("instanceName") or attributes.get("instanceType", "")
        kind = re.match(r"ml\.[a-z0-9-]+\.[a-z0-9]+", named)
        if not kind or attributes.get("component") not in USES or "spot" in attributes.get("usagetype", "").lower():
            continue
        for term in product.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                price = float(dimension["pricePerUnit"].get("USD", 0))
                if price > 0 and dimension["unit"].lower().startswith(("h", "hour")):
                    hourly[kind[0]] = max(price, hourly.get(kind[0], 0.0))
    return hourly
