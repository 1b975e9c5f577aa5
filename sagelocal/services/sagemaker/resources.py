"""What SageMaker's resources have in common: a name that is free or taken, and Describe, List and Delete."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

from sagelocal.core import listing
from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError, ResourceInUse
from sagelocal.core.json import Json
from sagelocal.core.registry import operation
from sagelocal.core.store import AlreadyExists, Document, Kind

Explain = Callable[[str, str], AwsError]


def now_after(*moments: float | None) -> float:
    """Now, and not before what has happened already: somebody may have set the clock back meanwhile."""
    return max(time.time(), *(moment for moment in moments if moment is not None), 0.0)


@dataclass(frozen=True)
class Resource(Generic[Document]):
    """A kind of resource. `word` begins its members: <word>Name, <word>Arn, <word>Status.

    `missing` and `taken` make the errors for a name that does not exist and for one that does, out of name and ARN.
    """

    kind: Kind[Document]
    word: str
    missing: Explain
    taken: Explain = lambda name, _: ResourceInUse(f"{name} exists already.")
    path: str = ""  # in ARNs, where that is not the kind
    named_by_arn: bool = False  # else a request may give a name or an ARN

    def arn(self, context: Context, name: str) -> str:
        return context.arn("sagemaker", f"{self.path or self.kind}/{name}")

    def find(self, context: Context, name: str) -> Document:
        """The document of that name. Raises `missing`."""
        body = context.store.get(self.kind, self._key(name))
        if body is None:
            raise self.missing(name, self.arn(context, self._key(name)))
        return body

    def insert(self, context: Context, name: str, body: Mapping[str, Any]) -> Document:
        """Add a document, which only the code that wrote `body` can vouch for. Raises `taken`."""
        document = cast(Document, body)
        try:
            context.store.insert(self.kind, name, document)
        except AlreadyExists:
            raise self.taken(name, self.arn(context, name)) from None
        return document

    def answers_describe(self, name: str) -> None:
        @operation("sagemaker", name)
        def describe(context: Context, request: Json) -> Document:
            return self.find(context, request[f"{self.word}Name"])

    def answers_list(self, name: str, answer: str, members: Sequence[str]) -> None:
        """List<word>s: `answer` is the member of the list, `members` those of each resource in it."""

        @operation("sagemaker", name)
        def list_all(context: Context, request: Json) -> Json:
            return listing.stored(context.store, self.kind, request, answer, listing.members(members))

    def answers_delete(self, name: str) -> None:
        @operation("sagemaker", name)
        def delete(context: Context, request: Json) -> None:
            self.find(context, request[f"{self.word}Name"])
            context.store.delete(self.kind, self._key(request[f"{self.word}Name"]))

    def _key(self, name: str) -> str:
        return name if self.named_by_arn else name.rpartition("/")[2]
