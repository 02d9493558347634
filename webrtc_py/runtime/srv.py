"""SRV records (RFC 2782): which hosts and ports a domain has for a service."""

from __future__ import annotations

import dns.asyncresolver
import dns.exception
import dns.rdatatype
from dns.rdtypes.IN.SRV import SRV

from .network import Address


async def resolve_srv(service: str, host: str) -> list[Address]:
    """The targets' names and ports in the order to try them; none when the domain says that it has no such service.

    It asks the servers of the system's configuration itself, since the system's resolver has no question for them.
    OSError when there is no answer.
    """
    try:
        resolver = dns.asyncresolver.Resolver()
        answer = await resolver.resolve(f"{service}.{host}", dns.rdatatype.SRV, search=False)
        records = answer.rrset.processing_order() if answer.rrset is not None else []
    except (dns.exception.DNSException, ValueError) as error:
        raise OSError(f"there is no SRV record {service}.{host}: {type(error).__name__}") from None
    # The root as the target says that there is no such service.
    return [
        (record.target.to_text(omit_final_dot=True), record.port)
        for record in records
        if isinstance(record, SRV) and record.target.labels[0]
    ]
