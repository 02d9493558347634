"""WebRTC in Python: connections between programs and browsers, and data channels on them.

::

    async with PeerConnection() as pc:
        channel = pc.create_data_channel("chat")
        pc.on_ice_candidate(lambda candidate: signal(candidate))      # one by one, None at the end
        await pc.set_local_description()                              # makes the offer
        signal(pc.local_description)
        await pc.set_remote_description(answer)                       # and pc.add_ice_candidate(...) as they come
        await channel.opened()
        channel.send("hello")
        async for message in channel:
            ...

Names are Pion's in Python's spelling, values and behaviour are W3C's. Everything an application needs can be imported
from here; ``webrtc_py.ice`` stands alone for those who want a path between two hosts and no WebRTC.

A walk through the house, from the roof down. A module imports only what stands below it:

- ``peer_connection``: the W3C object. It chains the operations, asks ``jsep`` what a description means, lets the one
  ``bundle_transport`` do it, and turns states into events (``connection_states``, ``negotiation_needed``). ``stats``
  reads the figures, ``explanation`` says in words how it stands. ``api`` makes all objects with the same
  ``setting_engine``; ``configuration``, ``session_description``, ``ice_parameters`` and what comes ``from_signaling``
  are what they take. The commands are ``__main__`` and ``doctor``.
- ``sctp_transport`` with its ``data_channel``, ``dtls_transport`` with its ``certificate``, ``ice_transport`` with its
  ``ice_gatherer``: each object a file, each standing on the next. Data passes them as trains of datagrams (``train``)
  in plain calls: a socket's readable event ends in the application's handler.
- ``ice``: the agent with its sockets and servers round a core that makes the checks.
- ``runtime``: sockets, timers, and the order of events: what touches the world.
- Below, nothing knows a socket, a clock or chance: ``jsep`` negotiates, ``sctp`` carries messages, ``dtls`` keeps them
  secret, ``datachannel`` and ``sdp`` are formats, ``mux``, ``serial``, ``states`` and ``arguments`` small rules,
  ``errors`` the words.

Each folder's docstring names the standards that it implements, and what it leaves out.
"""

from .api import API
from .certificate import Certificate
from .configuration import AnswerOptions, Configuration, OfferOptions
from .data_channel import DataChannel, DataChannelInit, DetachedDataChannel
from .dtls import DTLSParameters, Fingerprint
from .dtls_transport import DTLSTransport
from .errors import (
    ArgumentTypeError,
    ConnectionClosedError,
    ConnectionFailedError,
    InvalidAccessError,
    InvalidModificationError,
    InvalidStateError,
    NotSupportedError,
    OperationError,
    ParseError,
    RTCError,
    SDPSyntaxError,
    URLSyntaxError,
    WaitTimeoutError,
    WebRTCError,
)
from .ice import (
    AddressRewriteRule,
    AgentTimings,
    BindingRequest,
    RenominationOptions,
    TCPMux,
    UDPMux,
    time_limited_credentials,
)
from .ice_gatherer import ICEGatherer
from .ice_parameters import (
    ICECandidate,
    ICECandidateError,
    ICECandidateInit,
    ICECandidatePair,
    ICEGatherOptions,
    ICEParameters,
    ICEServer,
)
from .ice_transport import ICETransport
from .peer_connection import PeerConnection
from .sctp_transport import SCTPCapabilities, SCTPTransport
from .session_description import SessionDescription
from .setting_engine import SettingEngine
from .states import (
    AddressRewriteMode,
    BundlePolicy,
    CandidatePairState,
    CandidateType,
    ContinualGatheringPolicy,
    DataChannelState,
    DTLSRole,
    DTLSTransportState,
    ICEConnectionState,
    ICEGathererState,
    ICEGatheringState,
    ICERole,
    ICETransportPolicy,
    ICETransportState,
    MulticastDNSMode,
    NetworkType,
    PeerConnectionState,
    RTCPMuxPolicy,
    SCTPTransportState,
    SDPType,
    SignalingState,
    TCPType,
)
from .stats import (
    CertificateStats,
    DataChannelStats,
    ICECandidatePairStats,
    ICECandidateStats,
    PeerConnectionStats,
    SCTPTransportStats,
    Stats,
    StatsReport,
    TransportStats,
)

__all__ = [
    "API",
    "AddressRewriteMode",
    "AddressRewriteRule",
    "AgentTimings",
    "AnswerOptions",
    "ArgumentTypeError",
    "BindingRequest",
    "BundlePolicy",
    "CandidatePairState",
    "CandidateType",
    "Certificate",
    "CertificateStats",
    "Configuration",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "ContinualGatheringPolicy",
    "DTLSParameters",
    "DTLSRole",
    "DTLSTransport",
    "DTLSTransportState",
    "DataChannel",
    "DataChannelInit",
    "DataChannelState",
    "DataChannelStats",
    "DetachedDataChannel",
    "Fingerprint",
    "ICECandidate",
    "ICECandidateError",
    "ICECandidateInit",
    "ICECandidatePair",
    "ICECandidatePairStats",
    "ICECandidateStats",
    "ICEConnectionState",
    "ICEGatherOptions",
    "ICEGatherer",
    "ICEGathererState",
    "ICEGatheringState",
    "ICEParameters",
    "ICERole",
    "ICEServer",
    "ICETransport",
    "ICETransportPolicy",
    "ICETransportState",
    "InvalidAccessError",
    "InvalidModificationError",
    "InvalidStateError",
    "MulticastDNSMode",
    "NetworkType",
    "NotSupportedError",
    "OfferOptions",
    "OperationError",
    "ParseError",
    "PeerConnection",
    "PeerConnectionState",
    "PeerConnectionStats",
    "RTCError",
    "RTCPMuxPolicy",
    "RenominationOptions",
    "SCTPCapabilities",
    "SCTPTransport",
    "SCTPTransportState",
    "SCTPTransportStats",
    "SDPSyntaxError",
    "SDPType",
    "SessionDescription",
    "SettingEngine",
    "SignalingState",
    "Stats",
    "StatsReport",
    "TCPMux",
    "TCPType",
    "TransportStats",
    "UDPMux",
    "URLSyntaxError",
    "WaitTimeoutError",
    "WebRTCError",
    "time_limited_credentials",
]
