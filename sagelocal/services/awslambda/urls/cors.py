"""Cross-origin requests, as a URL's Cors setting has them answered: the function itself sees no preflight.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html#urls-cors
"""

from werkzeug.wrappers import Request, Response

from sagelocal.services.awslambda.documents import UrlConfig
from sagelocal.services.iam.matching import glob


def is_preflight(config: UrlConfig, request: Request) -> bool:
    asks = "Origin" in request.headers and "Access-Control-Request-Method" in request.headers
    return request.method == "OPTIONS" and asks and bool(config.get("Cors"))


def preflight(config: UrlConfig, request: Request) -> Response:
    """200 in any case; the browser reads from the headers what it may do."""
    settings = config["Cors"]
    response = Response("", 200, content_type="application/json")
    add_headers(config, request, response)
    if "Access-Control-Allow-Origin" in response.headers:
        for header, allowed in (("Methods", settings.get("AllowMethods")), ("Headers", settings.get("AllowHeaders"))):
            if allowed:
                response.headers[f"Access-Control-Allow-{header}"] = ",".join(allowed)
        if settings.get("MaxAge"):
            response.headers["Access-Control-Max-Age"] = str(settings["MaxAge"])
    return response


def add_headers(config: UrlConfig, request: Request, response: Response) -> None:
    """Tell the browser that the page's origin may read the response. The setting wins over what the function says."""
    settings, origin = config.get("Cors") or {}, request.headers.get("Origin", "")
    allowed = settings.get("AllowOrigins", [])
    if not origin or not any(glob(pattern).matches(origin) for pattern in allowed):
        return
    anybody = "*" in allowed and not settings.get("AllowCredentials")
    response.headers["Access-Control-Allow-Origin"] = "*" if anybody else origin
    response.headers["Vary"] = "Origin"
    if settings.get("AllowCredentials"):
        response.headers["Access-Control-Allow-Credentials"] = "true"
    if settings.get("ExposeHeaders"):
        response.headers["Access-Control-Expose-Headers"] = ",".join(settings["ExposeHeaders"])
