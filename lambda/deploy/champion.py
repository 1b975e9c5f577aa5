"""Find the champion: the newest approved model of a group that is another one than the candidate.

The pipeline asks before Evaluate, which scores both on the same photos. Equal questions get equal answers, so that a
repeated run finds its evaluation in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from calls import Clients, pages
from failures import InvalidEvent
from reading import matching, shown
from release import address, archive_of, is_there

from contract.s3 import BUCKET

GROUP_NAME = matching(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", "pawline: letters, digits and hyphens, at most 63")
ARCHIVE = matching(rf"s3://{BUCKET}/\S+", "s3://bucket/models/<training job>/output/model.tar.gz")


@dataclass(frozen=True, kw_only=True)
class Search:
    """`candidate`: the archive of the model that wants to be registered."""

    model_package_group: str
    candidate: str

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Search:
        """Check `{"action": "champion", "model_package_group": …, "candidate": "s3://…"}`. Raises InvalidEvent."""
        if unknown := sorted(set(event) - {"action", "model_package_group", "candidate"}):
            raise InvalidEvent(f"Unknown field {shown(unknown[0])}. It takes model_package_group and candidate.")
        return cls(
            model_package_group=GROUP_NAME("model_package_group", event.get("model_package_group")),
            candidate=ARCHIVE("candidate", event.get("candidate")),
        )


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The Lambda step's OutputParameters. Where there is no champion, `model_data` is the candidate's own archive: an
    input of a processing job cannot be absent."""

    model_data: str
    model_package_arn: str = ""
    message: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def find(search: Search, clients: Clients) -> Champion:
    """A champion that was deployed is read where it serves from: there no job can have written.

    Raises botocore's ClientError for calls that AWS refuses.
    """
    gone = 0
    for arn in _approved(search.model_package_group, clients):
        package = clients.sagemaker.describe_model_package(ModelPackageName=arn)
        archive = archive_of(package)
        if archive in ("", search.candidate):
            continue
        for uri in (address(package, clients), archive):
            if is_there(uri, clients):
                return Champion(model_data=uri, model_package_arn=arn, message=f"The champion is {arn}.{_left(gone)}")
        gone += 1
    message = f"{search.model_package_group} has no other approved model.{_left(gone)}"
    return Champion(model_data=search.candidate, message=message)


def _approved(group: str, clients: Clients) -> Iterator[str]:
    """ARNs of the approved packages, newest first."""
    newest_first = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    call, which = clients.sagemaker.list_model_packages, {"ModelPackageGroupName": group}
    for page in pages(call, **which, ModelApprovalStatus="Approved", **newest_first):
        for summary in page["ModelPackageSummaryList"]:
            if summary["ModelPackageStatus"] == "Completed":
                yield summary["ModelPackageArn"]


def _left(gone: int) -> str:
    return f" The archives of {gone} newer ones are gone." if gone else ""
