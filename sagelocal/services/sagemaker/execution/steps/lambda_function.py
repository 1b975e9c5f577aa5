"""Lambda: invokes a function with the arguments as its event; its properties are the declared OutputParameters."""

import json
import queue
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json, read
from sagelocal.definition import parameters
from sagelocal.services.sagemaker.execution import identity, retry
from sagelocal.services.sagemaker.execution.steps.base import Handler, Result, StepFailed, Task

MAX_SECONDS = 600.0


class LambdaStep(Handler):
    cache_keys = ("FunctionArn", "Event", "OutputParameters")

    def arguments(self, task: Task) -> Json:
        return {
            "FunctionArn": task.scope.resolve(task.step.own["FunctionArn"]),
            "Event": super().arguments(task),
            "OutputParameters": task.step.own.get("OutputParameters") or [],
        }

    def run(self, task: Task, arguments: Json) -> Result:
        arn = arguments["FunctionArn"]
        task.on_started({"Lambda": {"Arn": arn}})
        answer = self._invoke(task, arn, arguments["Event"])
        outputs = _outputs(arn, answer, task.step.output_parameters)
        shown = [{"Name": name, "Value": parameters.as_text(value)} for name, value in outputs.items()]
        metadata: Json = {"Lambda": {"Arn": arn, "OutputParameters": shown}}
        return Result({"OutputParameters": outputs}, metadata)

    def _invoke(self, task: Task, arn: str, event: Json) -> Any:
        """The function's answer. The step gives up after ten minutes, as on AWS; the function has its own time-out.

        An attempt that is made again, since the server ended before the answer was recorded, has the same request id:
        a function that keeps the ids of what it has done does nothing twice.
        """
        request_id = identity.token(task.execution_id, task.step.name, task.attempt)
        context = replace(task.context, request_id=request_id)
        answers: queue.SimpleQueue[Json | Exception] = queue.SimpleQueue()

        def invoke() -> None:
            try:
                payload = json.dumps(event).encode()
                answers.put(context.call("lambda", "Invoke", FunctionName=arn, Payload=payload))
            except Exception as error:
                answers.put(error)

        task.context.spawn(f"invoke {arn}", invoke)
        try:
            answer = answers.get(timeout=MAX_SECONDS)
        except queue.Empty:
            raise StepFailed(f"ClientError: Lambda function {arn} did not answer within 10 minutes.") from None
        if isinstance(answer, AwsError):
            reason = f"ClientError: Failed to invoke lambda:Invoke. Error Details: {answer.message}"
            raise StepFailed(reason, retry.type_of_error(answer)) from answer
        if isinstance(answer, Exception):
            raise answer
        body = _decoded(answer.get("Payload"))
        if answer.get("FunctionError"):
            said = body if isinstance(body, dict) else {}
            kind, message = said.get("errorType", answer["FunctionError"]), said.get("errorMessage", body)
            raise StepFailed(f"ClientError: Lambda function {arn} failed: {kind}: {message}")
        return body


def _decoded(payload: Any) -> Any:
    raw = payload.read() if hasattr(payload, "read") else payload
    try:
        return read(raw or b"null")
    except ValueError:
        return None


def _outputs(arn: str, answer: Any, declared: Mapping[str, str]) -> Json:
    """The declared outputs out of the function's answer, cast by their types."""
    outputs = {}
    for name, kind in declared.items():
        if not isinstance(answer, dict) or name not in answer:
            there = ", ".join(answer) if isinstance(answer, dict) else repr(answer)
            raise StepFailed(
                f"ClientError: Lambda function {arn} did not return output parameter {name}; it returned {there}."
            )
        value = parameters.cast(kind, answer[name])
        if value is None:
            raise StepFailed(
                f"ClientError: Lambda output parameter {name} is {answer[name]!r}, which is not a valid {kind}."
            )
        outputs[name] = value
    return outputs
