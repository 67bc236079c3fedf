"""Which network addresses a service may be asked to call: not those that only it can reach, unless it was told so.

Whoever may name a URL would otherwise reach through the service what stands beside it: a cloud's metadata, a database,
the hub's own interfaces.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.values import short

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "fec0::/10", "3fff::/20")
)
"""What ``ipaddress`` calls global, in some versions of Python or in all: special-purpose ranges, among them where
clouds keep the metadata of their machines (192.0.0.192, 168.63.129.16)."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of texts such as ``10.2.0.0/16`` or ``10.2.3.4``; ``InvalidValue`` for what is none."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise InvalidValue(f"{short(text)} is no network; write it as 10.2.0.0/16 or fd00:1::/64") from error
    return tuple(found)


def is_allowed(text: str, allowed: Sequence[Network] = ()) -> bool:
    """Whether the address ``text`` may be called: it is public, or in one of the ``allowed`` networks.

    An IPv6 address that stands for an IPv4 address counts as that.
    """
    address = _meant(ipaddress.ip_address(text.partition("%")[0]))
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if any(address.version == network.version and address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _meant(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return inner or address
