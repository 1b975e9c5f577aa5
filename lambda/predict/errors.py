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

    @property
    def code(self) -> str:
        return type(self).__name__


class InvalidRequest(PredictError):
    """The event or its body is not `{"url": …}` or `{"image": base64}`."""

    status = 400


class UrlRefused(PredictError):
    """The guard does not fetch this URL: scheme, port, credentials, spelling, or an address that is not public."""

    status = 400


class ImageTooLarge(PredictError):
    """More bytes or more pixels than allowed."""

    status = 413


class NotAnImage(PredictError):
    """Not a JPEG or PNG, by content type, content encoding or first bytes."""

    status = 415


class UnsupportedMediaType(PredictError):
    """The content type of an HTTP request's body is neither JSON nor an image's."""

    status = 415


class UnreadableImage(PredictError):
    """A JPEG or PNG by its first bytes, but its header is broken or the model cannot decode it."""

    status = 422


class UrlNotFetched(PredictError):
    """The URL is allowed, but there is nothing to fetch: unknown name, 404, too many redirects."""

    status = 422


class Throttled(PredictError):
    """The endpoint's capacity is used up."""

    status = 429
    retry_after = 1


class OriginFailed(PredictError):
    """The server behind the URL refused the connection, broke off, or answered with a server error."""

    status = 502


class ModelFailed(PredictError):
    """The model container failed or answered something that is no prediction."""

    status = 502


class EndpointUnavailable(PredictError):
    """The endpoint does not exist, is not in service or is not ready."""

    status = 503
    retry_after = 5


class FetchTimedOut(PredictError):
    """The image was not there within the fetch's total time."""

    status = 504


class ModelTimedOut(PredictError):
    """The endpoint did not answer in time."""

    status = 504
    retry_after = 5


class Misconfigured(PredictError):
    """A setting in the function's environment is wrong; the message names it."""

    status = 500


class InternalError(PredictError):
    """A defect of this function; the log has the traceback."""

    status = 500
