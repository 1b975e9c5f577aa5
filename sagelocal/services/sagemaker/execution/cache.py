"""Step caching: reuse of an earlier successful run of a step whose key arguments are the same.

Keys are arguments, not the data behind them (semantics: SageMaker Pipelines step caching). What AWS keeps to itself is
told here: why a step was not reused, down to the argument that differs.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.core.selection import Selection
from sagelocal.core.store import Kind
from sagelocal.definition.caching import CacheConfig
from sagelocal.services.s3 import objects
from sagelocal.services.sagemaker.documents import CACHE_ENTRY

ABSENT = "nothing"


def keys_of(arguments: Mapping[str, Any], paths: Sequence[str]) -> Json:
    """The key arguments among resolved ones; paths are dotted member names. Members that are absent stay out."""
    keys = {}
    for path in paths:
        value: Any = arguments
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            keys[path] = value
    return keys


def look_up(context: Context, pipeline: str, step: str, keys: Json, config: CacheConfig) -> tuple[Json | None, str]:
    """An earlier run of this step with the same keys whose job and outputs still exist; else the reason for a miss."""
    found = context.store.get(CACHE_ENTRY, _name(pipeline, step, keys))
    if found is None:
        return None, _difference(context, pipeline, step, keys)
    age = time.time() - found["Time"]
    if config.expire_after and age > config.expire_after:
        return None, f"expired: it ran {_shown_age(age)} ago and ExpireAfter is {_shown_age(config.expire_after)}"
    kind, name = found["Job"] or ("", "")
    if kind and context.store.get(Kind[Any](kind), name) is None:
        return None, f"its {kind} {name} is gone"
    for uri in found["Outputs"]:
        if not _there(context, uri):
            return None, f"its output {uri} is gone"
    return found, ""


def entry(context: Context, pipeline: str, step: str, keys: Json, about: Json, outputs: Sequence[str]) -> Json:
    """What `keep` keeps of a successful run. An output that the run left empty is not asked for later."""
    written = [uri for uri in outputs if _there(context, uri)]
    return {"Pipeline": pipeline, "Step": step, "Keys": keys, "Time": time.time(), "Outputs": written} | about


def keep(context: Context, made: Json) -> None:
    """Keep a successful run for reuse."""
    context.store.put(CACHE_ENTRY, _name(made["Pipeline"], made["Step"], made["Keys"]), made)


def forget(context: Context, pipeline: str) -> None:
    """Drop what was kept for a pipeline."""
    for entry in context.store.list(CACHE_ENTRY, f"{pipeline}/"):
        context.store.delete(CACHE_ENTRY, _name(pipeline, entry["Step"], entry["Keys"]))


def _name(pipeline: str, step: str, keys: Json) -> str:
    signature = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
    return f"{pipeline}/{step}/{signature}"


def _difference(context: Context, pipeline: str, step: str, keys: Json) -> str:
    newest = Selection(parent=f"{pipeline}/{step}", descending=True, limit=1)
    earlier = context.store.page(CACHE_ENTRY, newest)
    if not earlier:
        return "no earlier successful run of this step"
    found = _changes(earlier[0][0]["Keys"], keys)
    changes = [f"{where.removeprefix('.')}: {_short(old)} -> {_short(new)}" for where, old, new in found]
    more = f" (and {len(changes) - 3} more)" if len(changes) > 3 else ""
    return "; ".join(changes[:3]) + more


def _changes(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, old value, new value) of each leaf that differs. Lists of named members are compared by name."""
    if old == new:
        return
    if isinstance(old, list) and isinstance(new, list):
        old_named, new_named = _by_name(old), _by_name(new)
        if old_named is not None and new_named is not None:
            for key in dict.fromkeys([*old_named, *new_named]):
                yield from _changes(old_named.get(key, ABSENT), new_named.get(key, ABSENT), f"{where}['{key}']")
            return
        if len(old) == len(new):
            for index, pair in enumerate(zip(old, new, strict=True)):
                yield from _changes(*pair, f"{where}[{index}]")
            return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(key, ABSENT), new.get(key, ABSENT), f"{where}.{key}")
        return
    yield where, old, new


def _by_name(items: list[Any]) -> Json | None:
    named = {}
    for item in items:
        name = next((v for k, v in item.items() if k.endswith("Name")), None) if isinstance(item, dict) else None
        if not isinstance(name, str):
            return None
        named[name] = item
    return named if len(named) == len(items) else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 160 else f"{text[:78]}…{text[-78:]}"


def _shown_age(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count > 1)}"
    return f"{seconds:.0f} s"


def _there(context: Context, uri: str) -> bool:
    """Whether an object is at `uri`, or under it as a prefix."""
    try:
        return objects.exists(context, uri) or bool(objects.keys(context, f"{uri.rstrip('/')}/"))
    except AwsError:
        return False
