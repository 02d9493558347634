"""Interactive Connectivity Establishment: a path through NATs and firewalls, found and kept alive.

The core (``core``, with ``checklist``, ``pair``, ``selection``, ``liveness``, ``transaction``, ``stun``, ``candidate``,
``explain`` and ``options``) knows no socket, no clock and no random source. It implements RFC 8445 (ICE) for full
agents and one component, RFC 8838 (Trickle ICE), RFC 8863 (Patient ICE), RFC 7675 (consent), and of RFC 8489 (STUN)
what these need; ``candidate`` holds the grammar of RFC 8839 section 5.1 and the ordering of RFC 8421.
"""
