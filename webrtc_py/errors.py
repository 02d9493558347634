"""Every error that the library raises. One root, W3C's names below it, each also of the built-in kind that fits."""

from __future__ import annotations


class WebRTCError(Exception):
    """The root of all errors of this library."""


class InvalidStateError(WebRTCError, RuntimeError):
    """The object is in a state that does not allow the call."""


class InvalidAccessError(WebRTCError, ValueError):
    """The object does not support the operation or the argument: a TURN server without credentials, for example."""


class InvalidModificationError(WebRTCError, ValueError):
    """The object cannot be changed in this way: an edited description, another certificate."""


class NotSupportedError(WebRTCError, NotImplementedError):
    """The operation is not supported."""


class OperationError(WebRTCError, RuntimeError):
    """The operation failed for a reason that has to do with the operation itself."""


class SDPSyntaxError(WebRTCError, ValueError):
    """A session description or a candidate cannot be understood. W3C calls it ``SyntaxError``.

    ``line`` is the number of the line at fault, from 1, or None when no single line is.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class URLSyntaxError(WebRTCError, ValueError):
    """A ``stun:`` or ``turn:`` URL cannot be understood. W3C calls it ``SyntaxError``."""


class ArgumentTypeError(WebRTCError, TypeError):
    """An argument is of the wrong type or exceeds what its type may hold. W3C calls it ``TypeError``."""


class ParseError(WebRTCError, ValueError):
    """Bytes from the network that no standard allows. The layer that reads them counts and drops."""


class ConnectionClosedError(InvalidStateError, ConnectionError):
    """The connection, channel or path is closed, or went away while the call waited for it.

    A handler that ends in it came too late, which is no error: one line at INFO says so, without a traceback.
    """


class ConnectionFailedError(WebRTCError, ConnectionError):
    """The connection could not be made, or is lost for good. The message says why."""


class WaitTimeoutError(WebRTCError, TimeoutError):
    """What was waited for did not happen in time."""


class RTCError(OperationError):
    """An error of a transport, as ``on_error`` reports it (W3C ``RTCError``).

    ``error_detail`` is one of ``"data-channel-failure"``, ``"dtls-failure"``, ``"fingerprint-failure"``,
    ``"sctp-failure"``; ``sctp_cause_code`` is the cause of an SCTP ABORT (RFC 9260 section 3.3.10) where there was one.
    """

    def __init__(self, error_detail: str, message: str, *, sctp_cause_code: int | None = None) -> None:
        super().__init__(message)
        self.error_detail = error_detail
        self.sctp_cause_code = sctp_cause_code
