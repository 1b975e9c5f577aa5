"""Fetch a picture from an address that a stranger chose, without becoming the stranger's tool.

The rules: https on 443 (http on 80 only where a setting allows it); every address of the name public, the connection
made to the very address that was checked, and each redirect judged like a new URL; JPEG or PNG only, 10 MB and 5
seconds in all, counted while the bytes come in. Proxy settings of the environment are not read.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from addresses import check_host, is_public, parse_address
from errors import FetchTimedOut, NotAnImage, OriginFailed, UrlNotFetched, UrlRefused
from pictures import MAX_BYTES, check_picture, too_many_bytes

SECONDS = 5.0
CONNECT_SECONDS = 2.0
MAX_REDIRECTS = 3
MAX_URL_LENGTH = 2048
MAX_ADDRESSES_TRIED = 4
PORTS = {"https": 443, "http": 80}
REDIRECTS = (301, 302, 303, 307, 308)

HEAD_BYTES = 1_000_000

_NETLOC = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(:[0-9]*)?")
_CONTROL_SPACE_OR_BACKSLASH = re.compile(r"[\x00-\x20\x7f-\x9f\\\ud800-\udfff]")


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Trusts what the system trusts, or a file of certificates. A name counts where the certificate lists it as a
    host's (RFC 6125): its common name can be anything."""
    context = ssl.create_default_context(cafile=authorities)
    context.hostname_checks_common_name = False
    return context


@dataclass(frozen=True)
class Network:
    """The ways out of this process: how names become addresses, how connections are made, whom TLS trusts."""

    resolve: Callable[..., list[Any]] = socket.getaddrinfo
    dial: Callable[..., socket.socket] = socket.create_connection
    tls: Callable[[], ssl.SSLContext] = cache(tls_context)


@dataclass(frozen=True)
class Picture:
    data: bytes
    content_type: str


@dataclass(frozen=True)
class Target:
    scheme: str
    host: str
    port: int
    path: str


class Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, above zero. Raises FetchTimedOut."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise FetchTimedOut("The image was not there in time. Try again, or send the image itself.")
        return left


def fetch(
    url: str,
    *,
    allow_http: bool = False,
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
    network: Network | None = None,
) -> Picture:
    """The picture behind `url`. `seconds`: for everything, names and redirects included.

    Raises UrlRefused, UrlNotFetched, OriginFailed, FetchTimedOut, ImageTooLarge, NotAnImage, UnreadableImage.
    """
    network, deadline = network or Network(), Deadline(seconds)
    for _ in range(MAX_REDIRECTS + 1):
        target = check_url(url, allow_http=allow_http)
        addresses = _public_addresses(target, network, deadline)
        connection = _connect(target, addresses, network, deadline, max_bytes)
        try:
            with closing(connection), _get(connection, target) as response:
                if response.status not in REDIRECTS:
                    data = _read_picture(response, max_bytes)
                    return Picture(data, check_picture(data))
                url = _redirected(url, response.getheader("Location") or "")
        except (http.client.HTTPException, OSError, ValueError) as error:
            _raise_origin_failure(error, deadline)
    raise UrlNotFetched(f"The URL redirects more than {MAX_REDIRECTS} times. Send the final one.")


def check_url(url: str, *, allow_http: bool) -> Target:
    """Scheme, credentials, port and host, without any look-up. Raises UrlRefused."""
    if len(url) > MAX_URL_LENGTH:
        raise UrlRefused(f"The URL has more than {MAX_URL_LENGTH} characters. Send a shorter one, or the image itself.")
    _check_characters(url)
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise UrlRefused("The URL is malformed. Send a full https:// address.") from None
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not allow_http):
        raise UrlRefused(f"The URL must begin with {'https:// or http://' if allow_http else 'https://'}.")
    if "@" in parts.netloc:
        raise UrlRefused("The URL contains credentials. Remove them, or send the image itself.")
    if not _NETLOC.fullmatch(parts.netloc) or ("[" in parts.netloc) != (":" in host):
        raise UrlRefused("The URL's host is not a valid address. Use a host name.")
    if port is None:
        port = PORTS[parts.scheme]
    if port not in PORTS.values():
        raise UrlRefused(f"The URL's port is {port}. Only 443 and 80 are fetched from.")
    return Target(parts.scheme, check_host(host), port, _request_path(parts))


def _check_characters(url: str) -> None:
    if _CONTROL_SPACE_OR_BACKSLASH.search(url):
        raise UrlRefused("The URL contains a space, a backslash or a control character. Percent-encode it.")


def _request_path(parts: SplitResult) -> str:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return quote(path, safe="/?%:@!$&'()*+,;=~-._[]")


def _public_addresses(target: Target, network: Network, deadline: Deadline) -> list[str]:
    """All addresses of the name, each checked: one that is not public refuses the name, whatever the others are."""
    answers = _resolve(target, network, deadline)
    texts = list(dict.fromkeys(answer[4][0] for answer in answers))
    for text in texts:
        address = parse_address(text)
        if address is None or not is_public(address):
            raise UrlRefused("The URL's host does not have a public address. Send the image itself.")
    return texts[:MAX_ADDRESSES_TRIED]


def _resolve(target: Target, network: Network, deadline: Deadline) -> list[Any]:
    """getaddrinfo knows no time limit, so it runs on a thread that may be left behind."""
    answers: list[Any] = []
    failures: list[BaseException] = []

    def look_up() -> None:
        try:
            answers.extend(network.resolve(target.host, target.port, type=socket.SOCK_STREAM))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, name="guard-resolve", daemon=True)
    thread.start()
    thread.join(deadline.left())
    if thread.is_alive():
        deadline.left()
        raise FetchTimedOut("The URL's host name was not resolved in time. Try again.")
    if failures or not answers:
        raise UrlNotFetched("The URL's host name cannot be resolved. Check its spelling.")
    return answers


def _connect(
    target: Target, addresses: list[str], network: Network, deadline: Deadline, max_bytes: int
) -> http.client.HTTPConnection:
    """A connection to one of the checked addresses. It cannot reconnect by itself, so no second look-up happens."""
    sock = None
    for address in addresses:
        try:
            sock = network.dial((address, target.port), timeout=min(CONNECT_SECONDS, deadline.left()))
            break
        except OSError:
            continue
    if sock is None:
        deadline.left()
        raise OriginFailed("The URL's server does not accept connections. Try again later.")
    try:
        if target.scheme == "https":
            sock.settimeout(deadline.left())
            sock = network.tls().wrap_socket(sock, server_hostname=target.host, suppress_ragged_eofs=False)
    except (OSError, ValueError) as error:
        sock.close()
        _raise_origin_failure(error, deadline)
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.auto_open = 0
    connection.sock = _HurriedSocket(sock, deadline, max_bytes)
    return connection


def _get(connection: http.client.HTTPConnection, target: Target) -> http.client.HTTPResponse:
    host = f"[{target.host}]" if ":" in target.host else target.host
    connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host if target.port == PORTS[target.scheme] else f"{host}:{target.port}")
    connection.putheader("User-Agent", "pawline-predict")
    connection.putheader("Accept", "image/jpeg, image/png")
    connection.putheader("Accept-Encoding", "identity")
    connection.putheader("Connection", "close")
    connection.endheaders()
    return connection.getresponse()


def _read_picture(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """The body, if the headers promise a picture. A length that is promised falsely is found while reading."""
    if response.status >= 500:
        raise OriginFailed(f"The URL's server answered {response.status}. Try again later.")
    if response.status != 200:
        raise UrlNotFetched(f"The URL's server answered {response.status}. Check the URL.")
    content_type = (response.getheader("Content-Type") or "").split(";")[0].strip().lower()
    if not content_type.startswith("image/"):
        raise NotAnImage("The URL does not lead to an image. Use the address of the picture, not of a page around it.")
    if (response.getheader("Content-Encoding") or "identity").strip().lower() != "identity":
        raise NotAnImage("The URL's server sends a compressed body. Send the image itself.")
    promised = response.length
    if promised is not None and promised > max_bytes:
        raise too_many_bytes(max_bytes)
    data = bytearray()
    while block := response.read(65_536):
        data += block
        if len(data) > max_bytes:
            raise too_many_bytes(max_bytes)
    if promised is not None and len(data) < promised:
        raise OriginFailed("The URL's server broke off in the middle. Try again.")
    return bytes(data)


def _redirected(url: str, location: str) -> str:
    """Checked before joining, since urljoin silently drops tabs and newlines."""
    if not location:
        raise UrlNotFetched("The URL redirects to nowhere. Send the final one.")
    _check_characters(location)
    try:
        return urljoin(url, location)
    except ValueError:
        raise UrlRefused("The URL redirects to a malformed one. Send the final one.") from None


def _raise_origin_failure(error: Exception, deadline: Deadline) -> NoReturn:
    """Whatever the other side does wrong, in one of two ways: too slow, or broken."""
    if isinstance(error, TimeoutError):
        raise FetchTimedOut("The image was not there in time. Try again, or send the image itself.") from error
    deadline.left()
    if isinstance(error, ssl.SSLEOFError):  # no close_notify: anybody on the way can end a TCP connection
        raise OriginFailed("The URL's server broke off in the middle. Try again.") from error
    if isinstance(error, ssl.SSLError):
        raise OriginFailed("The URL's server has no valid certificate. Send the image itself.") from error
    raise OriginFailed("The URL's server does not speak proper HTTP. Send the image itself.") from error


class _HurriedSocket:
    """What http.client needs of a socket, with the time that is left as the limit of each single receive: a server
    that sends one byte now and then never runs into a limit that begins anew with each byte. What comes in is counted
    here too, since http.client itself reads a chunk of size -1 to its end, however far away that is."""

    def __init__(self, sock: socket.socket, deadline: Deadline, max_bytes: int) -> None:
        self._sock, self._deadline, self._max_bytes = sock, deadline, max_bytes

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_HurriedReader(self._sock, self._deadline, self._max_bytes))

    def close(self) -> None:
        self._sock.close()


class _HurriedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline, max_bytes: int) -> None:
        self._sock, self._deadline, self._max_bytes = sock, deadline, max_bytes
        self._bytes_left = max_bytes + HEAD_BYTES
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        count = self._raw.readinto(buffer)
        self._bytes_left -= count or 0
        if self._bytes_left < 0:
            raise too_many_bytes(self._max_bytes)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
