"""Which hosts and addresses the guard connects to: canonical spellings of public ones."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from errors import UrlRefused

Address = IPv4Address | IPv6Address

_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP_INTERFACE = (0x00005EFE, 0x02005EFE)
# Public to some version of Python's is_global, which follows the registries, but no place where a picture lives:
# protocol assignments, the old 6to4 relays, AS112 sinks, Azure's host agent, and a newer documentation block.
_ALSO_REFUSED = [
    ip_network(block)
    for block in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.175.48.0/24",
        "168.63.129.16/32",
        "2001::/23",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]


def check_host(host: str) -> str:
    """The host in the one spelling that is used from here on: lower case, IDNA-encoded, no brackets.

    An IPv4 address must be four plain decimal numbers: `2130706433`, `0x7f.1` and `0177.0.0.1` mean 127.0.0.1 to
    inet_aton, so a name whose last label is a number is an address or nothing (WHATWG URL, "ends in a number").
    Raises UrlRefused.
    """
    if not host:
        raise UrlRefused("The URL has no host. Send a full https:// address.")
    if ":" in host:
        return _check_v6_literal(host)
    try:
        name = (host if host.isascii() else host.encode("idna").decode("ascii")).lower()
    except UnicodeError:
        raise UrlRefused("The URL's host is not a valid name. Check its spelling.") from None
    last_label = name.rstrip(".").rpartition(".")[2]
    if _NUMERIC_LABEL.fullmatch(last_label):
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise UrlRefused("The URL's host is an oddly spelt address. Use a host name.") from None
    if not _HOST_NAME.fullmatch(name.removesuffix(".")):
        raise UrlRefused("The URL's host is not a valid name. Check its spelling.")
    return name.removesuffix(".")


def _check_v6_literal(host: str) -> str:
    try:
        address = IPv6Address(host)
    except ValueError:
        raise UrlRefused("The URL's host is not a valid address. Use a host name.") from None
    if address.scope_id:
        raise UrlRefused("The URL's address names a network interface. Use a host name.")
    return str(address)


def parse_address(text: str) -> Address | None:
    """The address that a resolver gave; None for a scoped one, which is never public."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id else address


def is_public(address: Address) -> bool:
    """May the guard connect to it? Forms that carry a v4 address inside a v6 one are judged by what they carry.

    IPv6 is allowed only inside 2000::/3, the one block from which public addresses are given out.
    """
    if any(address in block for block in _ALSO_REFUSED if block.version == address.version):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if (carried := _carried_v4(address)) is not None:
        return is_public(carried)
    return address.is_global and address in _GLOBAL_UNICAST


def _carried_v4(address: IPv6Address) -> IPv4Address | None:
    """The v4 address inside a mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96), 6to4 (2002::/16) or ISATAP address.

    Teredo (2001::/32) needs no unwrapping: all of 2001::/23 is refused.
    """
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP_INTERFACE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
