"""Ray Serve's replicas listen for their peers on every address of the machine, without a setting: here on 127.0.0.1."""

from grpc.aio._server import Server

add_insecure_port = Server.add_insecure_port


def add_loopback_port(self: Server, address: str) -> int:
    return add_insecure_port(self, f"127.0.0.1:{address.rpartition(':')[2]}")


Server.add_insecure_port = add_loopback_port
