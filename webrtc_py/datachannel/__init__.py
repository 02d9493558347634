"""What a data channel says on its SCTP stream: DCEP (RFC 8832) and the payload identifiers (RFC 8831 section 6.6).

Left out: the deprecated fragmentation by payload identifiers 52 and 54 (RFC 8831 section 6.6), which no peer of today
sends; a channel on which they arrive is closed.
"""
