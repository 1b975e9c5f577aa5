"""Lifecycle rules: which are understood, and what they delete.

Versions, delete markers and storage classes do not exist here: rules about noncurrent versions and expired delete
markers are kept and never find anything, and a rule that moves objects to another class is refused by name.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.numbers import is_whole
from sagelocal.services.cloudwatch.clock import clock
from sagelocal.services.s3 import metadata, multipart, notifications, pages, tree, xml
from sagelocal.services.s3.documents import BUCKET_SETTING, ObjectRecord

logger = logging.getLogger(__name__)

MAX_RULES = 1000
DAY = 86_400.0
PAGE = 1000

SIZES = ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
FILTERS = {"Prefix", "Tag", *SIZES}
ACTIONS = {
    "Expiration": {"Days", "Date", "ExpiredObjectDeleteMarker"},
    "NoncurrentVersionExpiration": {"NoncurrentDays", "NewerNoncurrentVersions"},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation"},
}
MOVES = ("Transition", "NoncurrentVersionTransition")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that was checked. days, abort_after: of the server's clock; date: seconds since 1970."""

    id: str
    enabled: bool
    prefix: str
    tags: dict[str, str]
    larger: int | None
    smaller: int | None
    days: int | None
    date: float | None
    abort_after: int | None

    def covers(self, key: str, size: int, tags: dict[str, str]) -> bool:
        if self.larger is not None and size <= self.larger or self.smaller is not None and size >= self.smaller:
            return False
        return key.startswith(self.prefix) and self.tags.items() <= tags.items()


def rules(document: Element) -> list[Rule]:
    """The rules of a LifecycleConfiguration. Raises MalformedXML, InvalidArgument, InvalidRequest, NotImplemented."""
    if document.tag != "LifecycleConfiguration" or not 0 < len(document) <= MAX_RULES:
        raise _malformed(f"a LifecycleConfiguration has 1 to {MAX_RULES} rules")
    found = [_rule(element) for element in document if _known(element, {"Rule"})]
    names = [rule.id for rule in found if rule.id]
    if len(names) != len(set(names)):
        raise AwsError("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule", 400)
    return found


def carry_out(context: Context, now: float) -> None:
    """Delete what the rules of all buckets want deleted at `now` (seconds since 1970)."""
    for bucket in tree.buckets(context):
        kept = context.store.get(BUCKET_SETTING, f"{bucket}?lifecycle")
        try:
            for rule in rules(xml.parse(kept["text"].encode())) if kept else ():
                if rule.enabled:
                    _expire(context, bucket, rule, now)
                    _abort(context, bucket, rule, now)
        except AwsError as problem:  # rules that an earlier version kept, or a bucket that was deleted meanwhile
            logger.warning("The lifecycle rules of %s are not carried out: %s", bucket, problem.message)


def _expire(context: Context, bucket: str, rule: Rule, now: float) -> None:
    if rule.days is None and (rule.date is None or now < rule.date):
        return

    def due(modified: float) -> bool:
        return rule.days is None or now >= _moment(context, modified, rule.days)

    after = ""
    while not context.stopping.is_set():
        found = pages.page(context, bucket, pages.Asked(rule.prefix, after=after), PAGE)
        for key, _, modified, *_ in found:
            if modified is not None and due(modified):
                _delete(context, bucket, key.decode(), rule, due)
        if len(found) < PAGE:
            return
        after = found[-1][0].decode()


def _delete(context: Context, bucket: str, key: str, rule: Rule, due: Callable[[float], bool]) -> None:
    """Delete an object that is due, unless it was replaced meanwhile."""
    with tree.changing(context), suppress(tree.NoSuchKey, FileNotFoundError):
        path = tree.find(context, bucket, key)
        record: ObjectRecord = metadata.load(context, bucket, key, path)
        if due(record["modified"]) and rule.covers(key, path.stat().st_size, record["tags"]):
            tree.remove(context, bucket, key)
            notifications.object_deleted(context, bucket, key, "Lifecycle Expiration", "s3.amazonaws.com")


def _abort(context: Context, bucket: str, rule: Rule, now: float) -> None:
    for note in multipart.uploads(context).glob(f"*/{multipart.NOTE}") if rule.abort_after is not None else ():
        with suppress(FileNotFoundError):
            upload = json.loads(note.read_text())
            ours = upload["bucket"] == bucket and upload["key"].startswith(rule.prefix)
            if ours and now >= _moment(context, upload["started"], rule.abort_after or 0):
                tree.discard(context, note.parent)


def _moment(context: Context, since: float, days: int) -> float:
    """When a number of days is over: as S3 has it, at the midnight (UTC) behind it. A fast clock's days are shorter."""
    day = clock(context).seconds(DAY)
    return math.ceil((since + days * day) / day) * day


def _rule(element: Element) -> Rule:
    moves = [name for name in MOVES if element.find(name) is not None]
    if moves:
        message = f"The embedded S3 has one storage class and does not carry out {moves[0]}. Leave it out of the rule."
        raise AwsError("NotImplemented", message, 501)
    for part in element:
        _known(part, {"ID", "Status", "Prefix", "Filter", *ACTIONS})
        for member in part if part.tag in ACTIONS else ():
            _known(member, ACTIONS[part.tag])
    name = element.findtext("ID", "")
    if len(name) > 255:
        raise AwsError("InvalidArgument", "ID length should not exceed allowed limit of 255", 400)
    if element.findtext("Status") not in ("Enabled", "Disabled"):
        raise _malformed("the Status of a rule is Enabled or Disabled")
    if not any(element.find(action) is not None for action in ACTIONS):
        raise AwsError("InvalidRequest", "At least one action needs to be specified in a rule.", 400)
    said = _filter(element)
    tags = {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in said if tag.tag == "Tag"}
    text = {part.tag: part.text or "" for part in said if part.tag != "Tag"}
    abort_after = _number(element, "AbortIncompleteMultipartUpload/DaysAfterInitiation")
    if abort_after is not None and (tags or len(text) > ("Prefix" in text)):
        raise AwsError("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with tags or sizes.", 400)
    _number(element, "NoncurrentVersionExpiration/NoncurrentDays")
    _number(element, "NoncurrentVersionExpiration/NewerNoncurrentVersions")
    larger, smaller = (_whole(size, text[size], 0) if size in text else None for size in SIZES)
    return Rule(
        id=name,
        enabled=element.findtext("Status") == "Enabled",
        prefix=text.get("Prefix", ""),
        tags=tags,
        larger=larger,
        smaller=smaller,
        days=_number(element, "Expiration/Days"),
        date=_date(element),
        abort_after=abort_after,
    )


def _filter(rule: Element) -> list[Element]:
    """The conditions of a rule, of which all must hold."""
    old, new = rule.find("Prefix"), rule.find("Filter")
    if (old is None) == (new is None):
        raise _malformed("a rule has a Filter or, as in the first version of the API, a Prefix")
    if new is None:
        return [old] if old is not None else []
    if len(new) > 1:
        raise _malformed("a Filter has one condition; put several into And")
    both = new.find("And")
    said = list(new if both is None else both)
    return [part for part in said if _known(part, FILTERS)]


def _date(rule: Element) -> float | None:
    expiration = rule.find("Expiration")
    if expiration is not None and len(expiration) != 1:
        raise _malformed("an Expiration has one of Days, Date and ExpiredObjectDeleteMarker")
    text = rule.findtext("Expiration/Date")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _malformed(f"the Date {text!r} is none") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment.timestamp() % DAY:
        raise AwsError("InvalidArgument", "'Date' must be at midnight GMT", 400)
    return moment.timestamp()


def _number(rule: Element, path: str) -> int | None:
    text = rule.findtext(path)
    return None if text is None else _whole(path.rpartition("/")[2], text, 1)


def _whole(name: str, text: str, least: int) -> int:
    if not is_whole(text) or not least <= int(text) < 1 << 53:
        raise AwsError("InvalidArgument", f"'{name}' must be a whole number of at least {least}: {text!r}", 400)
    return int(text)


def _known(element: Element, names: set[str]) -> bool:
    if element.tag not in names:
        raise _malformed(f"{element.tag} is not known here")
    return True


def _malformed(why: str) -> AwsError:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return AwsError("MalformedXML", f"{message}: {why}.", 400)
