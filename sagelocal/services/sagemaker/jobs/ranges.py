"""The ranges a tuning job searches, as SageMaker declares them, and their values as SageMaker writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import isfinite
from typing import Any

from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json

AUTO, LINEAR, LOGARITHMIC, REVERSE_LOGARITHMIC = "Auto", "Linear", "Logarithmic", "ReverseLogarithmic"
AUTO_LOG_RATIO = 100  # from this max/min on, Auto means Logarithmic


@dataclass(frozen=True)
class Continuous:
    name: str
    low: float
    high: float
    scaling: str

    def text(self, value: float) -> str:
        """The hyperparameter's text. `value` is 1 - x where the scaling is ReverseLogarithmic."""
        value = 1 - value if self.scaling == REVERSE_LOGARITHMIC else value
        return repr(min(max(value, self.low), self.high))

    def value(self, text: str) -> float:
        """What `text` made the text of."""
        return 1 - float(text) if self.scaling == REVERSE_LOGARITHMIC else float(text)


@dataclass(frozen=True)
class Integer:
    name: str
    low: int
    high: int
    scaling: str

    def text(self, value: int) -> str:
        return str(value)

    def value(self, text: str) -> int:
        return int(text)


@dataclass(frozen=True)
class Categorical:
    name: str
    values: tuple[str, ...]

    def text(self, value: str) -> str:
        return value

    def value(self, text: str) -> str:
        return text


Range = Continuous | Integer | Categorical


def parse(declared: Mapping[str, Any], strategy: str) -> list[Range]:
    """ParameterRanges of a request. Raises ValidationException for one that is inverted or cannot be scaled so."""
    found: list[Range] = []
    for item in declared.get("IntegerParameterRanges", []):
        low, high = (_number(item, bound, int) for bound in ("MinValue", "MaxValue"))
        found.append(Integer(item["Name"], int(low), int(high), _scaling(item, low, high)))
    for item in declared.get("ContinuousParameterRanges", []):
        low, high = (_number(item, bound, float) for bound in ("MinValue", "MaxValue"))
        found.append(Continuous(item["Name"], low, high, _scaling(item, low, high)))
    for item in declared.get("CategoricalParameterRanges", []):
        found.append(Categorical(item["Name"], tuple(item["Values"])))
    if not found:
        raise ValidationException("ParameterRanges declares no range to search.")
    names = [item.name for item in found]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ValidationException(f"ParameterRanges declares {', '.join(double)} more than once.")
    if strategy == "Grid" and not all(isinstance(item, Categorical) for item in found):
        raise ValidationException("Grid search takes only CategoricalParameterRanges.")
    return found


def grid(ranges: list[Range]) -> list[dict[str, str]]:
    """Every combination of categorical values, the last range changing fastest."""
    values = [item.values for item in ranges if isinstance(item, Categorical)]
    return [dict(zip((item.name for item in ranges), combination, strict=True)) for combination in product(*values)]


def _number(item: Json, bound: str, kind: type[int] | type[float]) -> float:
    try:
        value = kind(item[bound])
        if not isfinite(value):
            raise ValueError
        return value
    except ValueError:
        raise ValidationException(
            f"{bound} of parameter range {item['Name']} is {item[bound]!r}, not {kind.__name__}."
        ) from None


def _scaling(item: Json, low: float, high: float) -> str:
    name: str = item["Name"]
    scaling: str = item.get("ScalingType", AUTO)
    if low > high:
        raise ValidationException(f"Parameter range {name}: MinValue {low} is greater than MaxValue {high}.")
    if scaling == AUTO:
        return LOGARITHMIC if low > 0 and high / low >= AUTO_LOG_RATIO else LINEAR
    if scaling == LOGARITHMIC and low <= 0:
        raise ValidationException(f"Parameter range {name}: Logarithmic scaling needs a MinValue above 0, not {low}.")
    if scaling == REVERSE_LOGARITHMIC and (isinstance(low, int) or low < 0 or high >= 1):
        raise ValidationException(
            f"Parameter range {name}: ReverseLogarithmic scaling needs a continuous range with 0 <= x < 1."
        )
    return scaling
