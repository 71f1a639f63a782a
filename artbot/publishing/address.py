"""Which addresses a channel may be sent to: public ones, unless the person says otherwise.

A name in a configured URL can come to mean a router, a metadata service or this machine's own
database (server-side request forgery). So what is judged is the address that is connected to, at the
moment of connecting; there is no second look-up in between. Ranges from the IANA special-purpose
registries, by way of `ipaddress`, and what these tables leave out: an IPv6 address that carries an
IPv4 one is as good as that one.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

PRIVATE = "is in a private network or on this machine; if that is meant, say allow_private = true"
"""What to say of such a host in a table of artbot.toml."""
_CARRIES_IPV4 = {
    IPv6Network("::ffff:0:0/96"): 0,  # IPv4-mapped, RFC 4291
    IPv6Network("::/96"): 0,  # IPv4-compatible, deprecated by RFC 4291
    IPv6Network("64:ff9b::/96"): 0,  # NAT64, RFC 6052
    IPv6Network("2002::/16"): 80,  # 6to4, RFC 3056
}
"""Networks, and how many bits follow the IPv4 address in each of their addresses."""
_NOT_PUBLIC = (
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    ipaddress.ip_network("2001::/32"),  # Teredo, RFC 4380
    ipaddress.ip_network("64:ff9b:1::/48"),  # local NAT64, RFC 8215
    ipaddress.ip_network("fec0::/10"),  # site-local, RFC 3879
)
"""What Python calls global, in one version or another, and is not."""


_HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9a-f:.]+(%\w+)?")
"""A name of any script, or an address: an IPv6 one, as `urlsplit` gives it, without its brackets."""


_PORT_TOO_LARGE = re.compile(r":[0-9]{5}(/|$)")


def split_address(url: str) -> SplitResult | None:
    """The parts of a web address; None for what is none: no http or https, no host that could be one, a port
    beyond 65535, white space. The library's own reasons are no use: they quote passwords."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or port == 0:
        return None
    if not url.isprintable() or " " in url or not _HOST.fullmatch(parts.hostname or ""):
        return None
    return parts


def quoted(url: str) -> str:
    """An address for a message, after a space; nothing of one that may hold a password, be it one whose
    writer forgot the host behind it."""
    try:
        _ = urlsplit(url).port
    except ValueError:
        if not _PORT_TOO_LARGE.search(url):
            return ""
    return "" if "@" in url else f" {url!r}"


def is_public(address: str) -> bool:
    """Whether an IP address, as `getaddrinfo` gives it, is one of the public Internet."""
    ip = _carried(ipaddress.ip_address(address.partition("%")[0]))
    is_listed = any(ip.version == network.version and ip in network for network in _NOT_PUBLIC)
    return ip.is_global and not ip.is_multicast and not is_listed


def is_private_host(host: str) -> bool:
    """Whether the host of a URL is one of this machine or a private network, as far as that is written there;
    names are looked up when something is sent."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not is_public(host)
    except ValueError:
        pass
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(host)))  # 127.1, 0x7f.1, 2130706433
    except OSError:
        return False


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own, however it is written."""
    return _carried(ipaddress.ip_address(address.partition("%")[0])).is_loopback


def _carried(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv6Address) and not ip.is_loopback and not ip.is_unspecified:
        for network, bits_after in _CARRIES_IPV4.items():
            if ip in network:
                return IPv4Address(int(ip) >> bits_after & 0xFFFF_FFFF)
    return ip
