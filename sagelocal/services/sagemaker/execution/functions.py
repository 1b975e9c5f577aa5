"""Values at run time: references, Std:Join and Std:JsonGet replaced by what they stand for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read
from sagelocal.definition import references
from sagelocal.definition.document import Definition
from sagelocal.definition.parameters import as_text
from sagelocal.definition.references import BadReference
from sagelocal.runtime import service_calls
from sagelocal.services.s3 import objects


@dataclass
class Scope:
    """What the expressions of one execution can see. Steps run in parallel read it; only the runner adds properties."""

    context: Context
    definition: Definition
    parameters: Mapping[str, Any]
    variables: Mapping[str, str]
    properties: dict[str, Json] = field(default_factory=dict)
    _documents: Json = field(default_factory=dict)

    def resolve(self, tree: Any, job_name: str = "") -> Any:
        """`tree` with every expression replaced by its value. Raises BadReference when one has none.

        `job_name` is what Execution.TrainingJobName and Execution.ProcessingJobName mean inside that step.
        """
        if isinstance(tree, list):
            return [self.resolve(item, job_name) for item in tree]
        if not isinstance(tree, dict):
            return tree
        function = references.kind(tree)
        if function == "Get":
            return self._get(tree["Get"], job_name)
        if function == "Std:Join":
            return self._join(tree["Std:Join"], job_name)
        if function == "Std:JsonGet":
            return self._json_get(tree["Std:JsonGet"], job_name)
        return {name: self.resolve(item, job_name) for name, item in tree.items()}

    def _get(self, expression: str, job_name: str) -> Any:
        reference = references.parse(expression)
        if reference.root == "Parameters":
            return self.parameters[reference.name]
        if reference.root == "Execution":
            return self._variable(reference.name, job_name)
        if reference.root == "PipelineExperimentConfig":
            return self.resolve((self.definition.experiment or {}).get(reference.name), job_name)
        if reference.name not in self.properties:
            raise BadReference(f"{expression}: step {reference.name} has not run.")
        return references.select(self.properties[reference.name], reference.keys, f"Steps.{reference.name}")

    def _variable(self, name: str, job_name: str) -> str:
        if name == "CurrentDateTime":
            return iso_time(time.time())
        if name in ("TrainingJobName", "ProcessingJobName"):
            return job_name
        return self.variables[name]

    def _join(self, call: Json, job_name: str) -> str:
        values = [self.resolve(value, job_name) for value in call["Values"]]
        for value in values:
            if not isinstance(value, str | int | float):
                raise BadReference(f"Std:Join takes strings and numbers, not {value!r}.")
        separator: str = call.get("On", "")
        return separator.join(as_text(value) for value in values)

    def _json_get(self, call: Json, job_name: str) -> Any:
        if "PropertyFile" in call:
            uri = self._property_file_uri(call["PropertyFile"])
        else:
            uri = self.resolve(call["S3Uri"], job_name)
        return references.select(self._document(uri), references.parse_json_path(call["Path"]), uri)

    def _property_file_uri(self, expression: Json) -> str:
        reference = references.parse(expression["Get"])
        file = self.definition.by_name[reference.name].property_files[str(reference.keys[1])]
        outputs = ("ProcessingOutputConfig", "Outputs", file.output_name, "S3Output", "S3Uri")
        where = references.select(self.properties[reference.name], outputs, f"Steps.{reference.name}")
        return f"{where.rstrip('/')}/{file.file_path}"

    def _document(self, uri: str) -> Any:
        if uri not in self._documents:
            try:
                service_calls.check_read(self.context, uri)
                self._documents[uri] = read(objects.read_bytes(self.context, uri))
            except (AwsError, OSError, KeyError) as missing:
                raise BadReference(f"Std:JsonGet cannot read {uri}: {missing}.") from missing
            except ValueError as problem:
                raise BadReference(f"Std:JsonGet: {uri} is not JSON: {problem}.") from problem
        return self._documents[uri]


def iso_time(seconds: float) -> str:
    """Seconds since 1970 as 2026-11-23T13:00:18.123Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
