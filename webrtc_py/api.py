"""Makes objects that share settings (Pion's API)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from .certificate import Certificate
from .configuration import Configuration
from .dtls_transport import DTLSTransport
from .ice_gatherer import ICEGatherer
from .ice_parameters import ICEGatherOptions
from .ice_transport import ICETransport
from .peer_connection import PeerConnection
from .sctp_transport import SCTPTransport
from .setting_engine import SettingEngine


class API:
    """Whole connections, or their parts one by one: gatherer, ICE, DTLS and SCTP, each made on the one before.

    The settings are copied: what is changed in them later has no effect here.
    """

    def __init__(self, setting_engine: SettingEngine | None = None) -> None:
        self._setting_engine = copy.copy(setting_engine) if setting_engine is not None else SettingEngine()

    @property
    def setting_engine(self) -> SettingEngine:
        return self._setting_engine

    def new_peer_connection(self, configuration: Configuration | None = None) -> PeerConnection:
        """``PeerConnection(configuration)`` with these settings."""
        return PeerConnection(configuration, api=self)

    def new_ice_gatherer(self, options: ICEGatherOptions | None = None) -> ICEGatherer:
        return ICEGatherer(options, self._setting_engine)

    def new_ice_transport(self, gatherer: ICEGatherer) -> ICETransport:
        return ICETransport(gatherer)

    def new_dtls_transport(
        self, ice_transport: ICETransport, certificates: Sequence[Certificate] = ()
    ) -> DTLSTransport:
        """With a certificate of its own, unless one is given."""
        return DTLSTransport(ice_transport, certificates, self._setting_engine)

    def new_sctp_transport(self, dtls_transport: DTLSTransport) -> SCTPTransport:
        return SCTPTransport(dtls_transport, self._setting_engine)
