"""Rules on Processing steps: where things lie in the container, and the files that a step promises."""

from collections.abc import Iterator
from typing import Any

from sagelocal.definition.document import Definition, Step, as_list, as_object, objects
from sagelocal.definition.findings import WARNING, Finding, shown, suggestion

ROOT = "/opt/ml/processing"


def local_paths(definition: Definition) -> Iterator[Finding]:
    """Every input and output has a LocalPath of its own under /opt/ml/processing. Source: API_ProcessingS3Input."""
    for step in _processing(definition):
        seen: dict[str, str] = {}
        for where, path, managed in _places(step):
            if path is None and not managed:
                yield Finding(step=step.name, field=where, message="is missing.", fix=f"Write a path under {ROOT}.")
            elif isinstance(path, str):
                if not _is_under(path, ROOT) or ".." in path.split("/"):
                    message = f"{shown(path)} is not under {ROOT}."
                    yield Finding(step=step.name, field=where, message=message, fix=f"Begin it with {ROOT}/.")
                elif path.rstrip("/") in seen:
                    message = f"{shown(path)} is the LocalPath of {seen[path.rstrip('/')]} too."
                    fix = "Give each a path of its own."
                    yield Finding(step=step.name, field=where, message=message, fix=fix, severity=WARNING)
                seen[path.rstrip("/")] = where


def entrypoint_lies_in_an_input(definition: Definition) -> Iterator[Finding]:
    """A script that the entrypoint names under /opt/ml/processing is brought there by some input."""
    for step in _processing(definition):
        places = [path for where, path, _ in _places(step) if "ProcessingInputs" in where and isinstance(path, str)]
        words = as_object(step.arguments.get("AppSpecification")).get("ContainerEntrypoint")
        for index, word in enumerate(as_list(words)):
            if isinstance(word, str) and _is_under(word, ROOT) and not any(_is_under(word, place) for place in places):
                yield Finding(
                    step=step.name,
                    field=f"Arguments.AppSpecification.ContainerEntrypoint[{index}]",
                    message=f"No ProcessingInput brings {word}.",
                    fix=f"Unless the image has it, correct the path or add an input: {', '.join(places) or 'none'}.",
                    severity=WARNING,
                )


def arguments_name_places_that_exist(definition: Definition) -> Iterator[Finding]:
    for step in _processing(definition):
        places = [path for _, path, _ in _places(step) if isinstance(path, str)]
        words = as_object(step.arguments.get("AppSpecification")).get("ContainerArguments")
        for index, word in enumerate(as_list(words)):
            path = word.rpartition("=")[2] if isinstance(word, str) else ""
            if _is_under(path, ROOT) and not any(_is_under(path, place) for place in places):
                yield Finding(
                    step=step.name,
                    field=f"Arguments.AppSpecification.ContainerArguments[{index}]",
                    message=f"{path} is neither in an input nor in an output.",
                    fix="Correct the path, or what is written there is lost.",
                    severity=WARNING,
                )


def property_files(definition: Definition) -> Iterator[Finding]:
    """A property file has a name of its own and lies in an output that the step has."""
    for step in _processing(definition):
        outputs = [str(entry.get("OutputName")) for _, entry in _outputs(step)]
        names: set[str] = set()
        for index, entry in enumerate(as_list(step.own.get("PropertyFiles"))):
            where = f"PropertyFiles[{index}]"
            for member in ("PropertyFileName", "OutputName", "FilePath"):
                if not isinstance(as_object(entry).get(member), str):
                    yield Finding(step=step.name, field=f"{where}.{member}", message="is missing.", fix="Add it.")
            entry = as_object(entry)
            name, output = str(entry.get("PropertyFileName")), entry.get("OutputName")
            if name in names:
                message = f"Two property files are called {name}."
                yield Finding(step=step.name, field=f"{where}.PropertyFileName", message=message, fix="Rename one.")
            names.add(name)
            if isinstance(output, str) and output not in outputs:
                fix = suggestion(output, outputs, f"It has: {', '.join(outputs) or 'none'}.")
                message = f"The step has no output {shown(output)}."
                yield Finding(step=step.name, field=f"{where}.OutputName", message=message, fix=fix)


def _processing(definition: Definition) -> Iterator[Step]:
    return (step for step in definition.steps if step.type == "Processing")


def _outputs(step: Step) -> Iterator[tuple[int, dict[str, Any]]]:
    return objects(as_object(step.arguments.get("ProcessingOutputConfig")).get("Outputs"))


def _places(step: Step) -> Iterator[tuple[str, Any, bool]]:
    """(field, LocalPath, whether SageMaker's own application moves it) of every S3 input and output."""
    for index, entry in objects(step.arguments.get("ProcessingInputs")):
        if "S3Input" in entry:
            path = as_object(entry["S3Input"]).get("LocalPath")
            yield f"Arguments.ProcessingInputs[{index}].S3Input.LocalPath", path, entry.get("AppManaged") is True
        dataset = as_object(entry.get("DatasetDefinition"))
        if "LocalPath" in dataset:
            yield f"Arguments.ProcessingInputs[{index}].DatasetDefinition.LocalPath", dataset["LocalPath"], False
    for index, entry in _outputs(step):
        if "S3Output" in entry:
            where = f"Arguments.ProcessingOutputConfig.Outputs[{index}].S3Output.LocalPath"
            yield where, as_object(entry["S3Output"]).get("LocalPath"), entry.get("AppManaged") is True


def _is_under(path: str, folder: str) -> bool:
    return path == folder.rstrip("/") or path.startswith(folder.rstrip("/") + "/")
