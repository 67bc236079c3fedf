from __future__ import annotations

import pytest

from jupyter_mlops.core.addresses import is_allowed, networks
from jupyter_mlops.core.errors import InvalidValue

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "168.63.129.16",
    "172.16.0.1",
    "192.0.0.192",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a01:203::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "3fff::1",
    "::ffff:192.0.0.192",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_called(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_any_other_may_not(address: str) -> None:
    assert not is_allowed(address)
    assert not is_allowed(address, networks(["192.0.2.0/24", "2001:db8::/32"]))


def test_networks_are_allowed_by_name_of_the_address_that_is_meant() -> None:
    allowed = networks(["10.1.0.0/16", "127.0.0.1", "fd00:1::/64"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "127.0.0.1", "fd00:1::5"):
        assert is_allowed(address, allowed)
    for address in ("10.2.0.1", "127.0.0.2", "fd00:2::5", "::1"):
        assert not is_allowed(address, allowed)


@pytest.mark.parametrize("text", ["", "localhost", "10.1.2.3/8", "10.0.0.0/40"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="no network"):
        networks([text])
