"""SCTP over DTLS, as WebRTC's data channels use it.

RFC 9260 (the protocol), RFC 8261 (over DTLS), RFC 3758 and RFC 7496 (partial reliability), RFC 6525 (stream resets),
RFC 4820 and RFC 8899 (padding, and path MTU discovery with it), RFC 9653 (zero checksum).

Left out: several addresses for an endpoint, for DTLS gives one path (RFC 8261 section 6.1); message interleaving (RFC
8260), which no browser but one offers, so that a message is never divided by another one; ECN, of which DTLS tells
nothing; TSN resets and additional streams of ours (RFC 6525), as 65535 streams are there from the beginning.

From the wire upwards: ``packet``, ``parameter`` and ``chunk`` are the format. ``inbound`` makes messages of chunks.
``send_queue``, ``outbound``, ``retransmission`` and ``congestion`` make packets of messages and keep them until they
are acknowledged. ``handshake``, ``lifecycle`` and ``reset`` begin and end associations and streams. ``reception`` takes
packets apart, and ``association`` is the engine that the rest of the stack sees.
"""
