"""Every answer other than 200, one class each: its status code, and in its name the code that the caller sees.

PredictError
├── InvalidRequest 400       ├── UrlRefused 400
├── ImageTooLarge 413        ├── NotAnImage 415           ├── UnsupportedMediaType 415
├── UnreadableImage 422      ├── UrlNotFetched 422
├── Throttled 429
├── OriginFailed 502         ├── ModelFailed 502
├── EndpointUnavailable 503
├── FetchTimedOut 504        ├── ModelTimedOut 504
├── Misconfigured 500
└── InternalError 500
"""


class PredictError(Exception):
    """Its message is shown to the caller: no URL path or query, no address, no image, no ARN."""

    status = 500
    retry_after: int | None = None

    def __init_subclass__(cls, *, status: int, retry_after: int | None = None) -> None:
        cls.status, cls.retry_after = status, retry_after

    @property
    def code(self) -> str:
        return type(self).__name__


class InvalidRequest(PredictError, status=400):
    """The event or its body is not `{"url": …}` or `{"image": base64}`."""


class UrlRefused(PredictError, status=400):
    """The guard does not fetch this URL: scheme, port, credentials, spelling, or an address that is not public."""


class ImageTooLarge(PredictError, status=413):
    """More bytes or more pixels than allowed."""


class NotAnImage(PredictError, status=415):
    """Not a JPEG or PNG, by content type, content encoding or first bytes."""


class UnsupportedMediaType(PredictError, status=415):
    """The content type of an HTTP request's body is neither JSON nor an image's."""


class UnreadableImage(PredictError, status=422):
    """A JPEG or PNG by its first bytes, but its header is broken or the model cannot decode it."""


class UrlNotFetched(PredictError, status=422):
    """The URL is allowed, but there is nothing to fetch: unknown name, 404, too many redirects."""


class Throttled(PredictError, status=429, retry_after=1):
    """The endpoint's capacity is used up."""


class OriginFailed(PredictError, status=502):
    """The server behind the URL refused the connection, broke off, or answered with a server error."""


class ModelFailed(PredictError, status=502):
    """The model container failed or answered something that is no prediction."""


class EndpointUnavailable(PredictError, status=503, retry_after=5):
    """The endpoint does not exist, is not in service or is not ready."""


class FetchTimedOut(PredictError, status=504):
    """The image was not there within the fetch's total time."""


class ModelTimedOut(PredictError, status=504, retry_after=5):
    """The endpoint did not answer in time."""


class Misconfigured(PredictError, status=500):
    """A setting in the function's environment is wrong; the message names it."""


class InternalError(PredictError, status=500):
    """A defect of this function; the log has the traceback."""
