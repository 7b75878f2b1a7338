"""Which addresses are in which networks, whatever form they come in."""

from __future__ import annotations

import pytest

from tenants import networks


def contained(networks_: list[str], address: str) -> bool:
    found = networks.read_address(address)
    assert found is not None
    return networks.contain(map(networks.read, networks.read_all(networks_)), found)


@pytest.mark.parametrize(
    ("listed", "address", "inside"),
    [
        ("203.0.113.0/24", "203.0.113.9", True),
        ("203.0.113.0/24", "203.0.114.9", False),
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.8", False),
        ("203.0.113.0/24", "::ffff:203.0.113.9", True),
        ("203.0.113.0/24", "::ffff:cb00:7109", True),
        ("::ffff:203.0.113.0/120", "203.0.113.9", True),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("2001:db8::/32", "2001:db8:1::9", True),
        ("2001:db8::/32", "2001:db9::", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "203.0.113.9", False),
    ],
)
def test_an_address_is_inside_or_not(listed: str, address: str, inside: bool) -> None:
    assert contained([listed], address) is inside


@pytest.mark.parametrize(
    "text", ["", " ", "office", "203.0.113", "203.0.113.0/33", "203.0.113.0/-1", "::g", "1,2", "<x>"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither an address nor a network"):
        networks.read(text)
    assert networks.read_address(text) is None


def test_bits_after_the_prefix_are_a_mistake_that_is_named() -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8, or 10\.1\.2\.3 alone"):
        networks.read("10.1.2.3/8")


def test_a_list_is_stored_in_one_form_and_each_network_once() -> None:
    assert networks.read_all(["::ffff:10.0.0.0/104", " 10.0.0.0/8 ", "2001:DB8::1"]) == [
        "10.0.0.0/8",
        "2001:db8::1/128",
    ]


def test_a_list_ends_somewhere() -> None:
    with pytest.raises(ValueError, match="50 networks at most"):
        networks.read_all(f"10.0.{n}.0/24" for n in range(51))
