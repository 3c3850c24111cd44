"""Network addresses: what a host name leads to, and which addresses a page from outside may not reach.

A public page must not make the crawler fetch `http://192.168.0.1/` or a cloud's metadata service, neither
by a link nor by a name that resolves there. The name is resolved here, the address is judged, and the
connection then goes to that very address, so that a second look-up cannot lead elsewhere (DNS rebinding).
"""

import ipaddress
import socket


class PrivateAddressError(ValueError):
    """A host that only has addresses which may not be fetched."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of `host` in the order the system gives them; raises OSError when there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether `address` belongs to the open internet: not private, loopback, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or _nat64(ip)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def checked_address(host: str, port: int, *, allow_private: bool) -> str:
    """The address to connect to for `host`.

    Raises PrivateAddressError if it has no public one and private ones are not allowed, OSError if it has none.
    """
    addresses = resolve(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    allowed = [address for address in addresses if allow_private or is_public(address)]
    if not allowed:
        raise PrivateAddressError(f"{host} leads to {addresses[0]}, which is not a public address")
    return allowed[0]


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside a NAT64 one (RFC 6052)."""
    if ip in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
