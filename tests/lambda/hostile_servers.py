"""Servers on 127.0.0.1 that answer each path by a script, and a network in which public names lead to them.

The guard's own checks run unchanged: the resolver answers with public addresses, and only the dialling of those
addresses is turned to this machine.
"""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from guard import Network, tls_context

PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "2606:2800:220:1:248:1893:25c8:1946"
HOST = "dogs.example"
Script = Callable[[socket.socket, bytes], None]


def answer(body: bytes, content_type: str | None = "image/jpeg", status: str = "200 OK", **headers: str) -> Script:
    """A whole, well-formed answer. `headers`: underscores become hyphens."""
    lines = [f"HTTP/1.1 {status}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda sock, _: sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def redirect(location: str, status: str = "302 Found") -> Script:
    return answer(b"", None, status, Location=location)


def raw(data: bytes) -> Script:
    return lambda sock, _: sock.sendall(data)


def repeat(head: bytes, piece: bytes, pause: float = 0.0) -> Script:
    """`head`, then `piece` again and again until the other side goes away."""

    def script(sock: socket.socket, _: bytes) -> None:
        sock.sendall(head)
        while True:
            sock.sendall(piece)
            if pause:
                time.sleep(pause)

    return script


def silent(sock: socket.socket, _: bytes) -> None:
    sock.settimeout(20)
    sock.recv(1)


class ScriptedServer:
    """`seen`: the request heads that came in. `tls`: None for plain HTTP. `handshake`: what is done in place of one."""

    def __init__(
        self, scripts: dict[str, Script], tls: ssl.SSLContext | None = None, handshake: Script | None = None
    ) -> None:
        self.scripts, self.seen, self._tls, self._handshake = scripts, [], tls, handshake
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._handshake:
                with sock:
                    self._handshake(sock, sock.recv(4096))
                return
            with self._tls.wrap_socket(sock, server_side=True) if self._tls else sock as connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (block := connection.recv(4096)):
                        return
                    head += block
                self.seen.append(head)
                path = head.split(b" ")[1].decode()
                (self.scripts.get(path) or self.scripts[path.partition("?")[0]])(connection, head)
                if self._tls:
                    connection.settimeout(1)
                    connection.unwrap()  # says that this was all
        except (OSError, ValueError):
            pass


class TestNetwork:
    """Names and public addresses that lead to servers here. `dialled`: the addresses that were connected to;
    `looked_up`: the names that were resolved."""

    __test__ = False

    def __init__(self, https: ScriptedServer, http: ScriptedServer, trust: ssl.SSLContext) -> None:
        self.names: dict[str, list[str] | Callable[[], list[str]]] = {HOST: [PUBLIC]}
        self._ports = {443: https.port, 80: http.port}
        self.dialled: list[tuple[str, int]] = []
        self.looked_up: list[str] = []
        self.network = Network(resolve=self.resolve, dial=self.dial, tls=lambda: trust)

    def resolve(self, host: str, port: int, **_):
        self.looked_up.append(host)
        try:
            addresses = [str(ipaddress.ip_address(host))]
        except ValueError:
            if host not in self.names:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            known = self.names[host]
            addresses = known() if callable(known) else known
        return [
            (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in addresses
        ]

    def dial(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.dialled.append(address)
        return socket.create_connection(("127.0.0.1", self._ports[address[1]]), timeout=timeout)


def certificate(folder: Path, *names: str, days: int = 1, listed: bool = True) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A self-signed certificate for `names`: the server's side, and a client's that trusts nothing else. Not `listed`:
    the first name is its common name alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    builder = builder.add_extension(alternative, critical=False) if listed else builder
    made = builder.sign(key, hashes.SHA256())
    path = folder / f"{names[0]}-{days}.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, tls_context(str(path))
