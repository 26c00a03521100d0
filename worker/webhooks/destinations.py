"""Where a webhook may go: only to public addresses, or where the operator has said so.

A name is resolved once, every address it has is judged, and the connection is made to an address
that was judged, so a name that answers otherwise a moment later gains nothing (DNS rebinding).
Addresses that clouds answer metadata on are never allowed, whatever the operator says.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from textgen.errors import InvalidInput, TextgenError
from worker.errors import InvalidSetting

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2000
NEVER: Sequence[Network] = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "fe80::/10",
            "fd00:ec2::254/128",  # AWS
            "fd20:ce::254/128",  # Google
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenDestination(InvalidInput):
    """A webhook may not go there."""

    default_code = "webhook_url_not_allowed"


class UnreachableDestination(TextgenError):
    """There is nobody there, or no answer came in time."""

    default_code = "webhook_unreachable"


@dataclass(frozen=True)
class Allowed:
    """Hosts and networks of the operator's own that webhooks may reach."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """From ``TEXTGEN_WEBHOOK_ALLOW``: names, addresses and networks, comma separated."""
        hosts, networks = set(), []
        for part in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError:
                if "/" in part or not part.isascii() or " " in part:
                    raise InvalidSetting(
                        f"TEXTGEN_WEBHOOK_ALLOW has {part!r}: give host names, addresses and "
                        "networks such as 10.0.0.0/8, comma separated.",
                        param="TEXTGEN_WEBHOOK_ALLOW",
                    ) from None
                hosts.add(part)
        return cls(frozenset(hosts), tuple(networks))

    def includes(self, host: str, address: Address) -> bool:
        """Whether the operator allows this."""
        return host in self.hosts or any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, and the address to connect to."""

    url: SplitResult
    host: str
    port: int
    address: str


def check_url(url: str) -> SplitResult:
    """The parts of a URL that could be one; raises ForbiddenDestination. Resolves nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ForbiddenDestination(f"'url' cannot be read: {error}.", param="url") from None
    host = parts.hostname
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ForbiddenDestination(
            f"'url' has at most {MAX_URL} characters, all of them ASCII.", param="url"
        )
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise ForbiddenDestination("'url' must begin with https:// and a host.", param="url")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenDestination(
            "'url' holds a user name or password; leave it out.", param="url"
        )
    return parts


def resolve(url: str, allowed: Allowed) -> Destination:
    """Where to connect; raises ForbiddenDestination, UnreachableDestination."""
    parts = check_url(url)
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port if parts.port is not None else {"https": 443, "http": 80}[parts.scheme]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableDestination(f"The host {host!r} cannot be found: {error}.") from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    own = True
    for text in addresses:
        address = _plain(ipaddress.ip_address(text))
        granted = allowed.includes(host, address)
        if any(address in network for network in NEVER) or not (granted or _is_public(address)):
            raise ForbiddenDestination(
                f"The host {host!r} has an address that is not public. Whoever runs this service "
                "can allow hosts of their own in TEXTGEN_WEBHOOK_ALLOW.",
                param="url",
            )
        own = own and granted
    if parts.scheme == "http" and not own:
        raise ForbiddenDestination(
            "'url' must begin with https://; plain http is for hosts of the operator's own.",
            param="url",
        )
    return Destination(parts, host, port, addresses[0])


def _plain(address: Address) -> Address:
    """The IPv4 address inside one that carries it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved
