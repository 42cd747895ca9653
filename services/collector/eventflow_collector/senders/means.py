"""The settings of a flow, and the parts of its process, that authentication needs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from eventflow_collector.senders.certificates import Certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The means by which a flow authenticates requests.

    Attributes:
        secrets: Each of them is valid, so that they can be changed without a gap.
        tolerance_s: The most that a signed time may differ from now, in either direction.
        public_url: The address of the flow as its sender has it; empty if no scheme signs it.
        trusted_proxies: The networks of the proxies in front.
        certificates: Those that this process has fetched.
    """

    secrets: Sequence[str] = field(repr=False)
    tolerance_s: float
    public_url: str = ""
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
    certificates: Certificates = field(default_factory=Certificates)
