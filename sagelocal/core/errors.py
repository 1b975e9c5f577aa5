"""The errors that the embedded services answer.

AwsError                      anything a client sees as botocore's ClientError
├── SerializationException    the request's body cannot be read
├── ValidationException       the request does not fit the operation's model, or breaks a rule of the service
├── ResourceNotFound          SageMaker's word for a name that does not exist
├── ResourceInUse             a name that is taken, or a resource that something still uses
├── ConflictException         the request clashes with what exists (pipelines)
├── ResourceLimitExceeded     more than the service allows
└── InternalFailure           an error of the server itself; its traceback is in the log
"""

from sagelocal.core.json import Json


class AwsError(Exception):
    """An AWS error code with its message and HTTP status, raised by an operation and sent to the client as it is.

    `members`: what else the error's shape has, as ModelError has OriginalStatusCode.
    """

    status = 400

    def __init__(self, code: str, message: str, status: int | None = None, members: Json | None = None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or type(self).status
        self.members = members or {}


class _NamedByClass(AwsError):
    def __init__(self, message: str):
        super().__init__(type(self).__name__, message)


class SerializationException(_NamedByClass):
    pass


class ValidationException(_NamedByClass):
    pass


class ResourceNotFound(_NamedByClass):
    pass


class ResourceInUse(_NamedByClass):
    pass


class ConflictException(_NamedByClass):
    pass


class ResourceLimitExceeded(_NamedByClass):
    pass


class InternalFailure(AwsError):
    def __init__(self, cause: Exception):
        super().__init__("InternalFailure", f"{type(cause).__name__}: {cause}", 500)
