"""The one transport that all sections of a connection share, from the ground up (RFC 9143)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from .certificate import Certificate
from .data_channel import DataChannel
from .dtls import DTLSParameters
from .dtls_transport import DTLSTransport
from .ice.candidate import UnsupportedCandidateError, unmarshal_candidate
from .ice_gatherer import ICEGatherer
from .ice_parameters import ICECandidate, ICECandidateError, ICEGatherOptions, ICEParameters
from .ice_transport import ICETransport
from .jsep import (
    AddRemoteCandidates,
    EndRemoteCandidates,
    LocalTransport,
    StartData,
    StartGathering,
    StartTransport,
    Step,
    default_destination,
)
from .sctp_transport import SCTPCapabilities, SCTPTransport
from .setting_engine import SettingEngine
from .states import DTLSRole, DTLSTransportState, ICEGathererState, ICETransportState


class BundleTransport:
    """Gatherer, ICE, DTLS and SCTP. None of it is started until an answer says where the peer is.

    Candidates are *surfaced* once a description of ours has a section that they belong to; until then they are a pool
    (RFC 8829 section 3.5.4). ``on_change`` is called when candidates or states have changed, in engine order.
    """

    def __init__(
        self,
        options: ICEGatherOptions,
        certificates: Sequence[Certificate],
        settings: SettingEngine,
        *,
        on_change: Callable[[], None],
        on_candidate_error: Callable[[ICECandidateError], None],
        on_data_channel: Callable[[DataChannel], None],
    ) -> None:
        self.certificate = certificates[0]
        self.gatherer = ICEGatherer(options, settings)
        self.ice = ICETransport(self.gatherer)
        self.dtls = DTLSTransport(self.ice, certificates, settings)
        self.sctp = SCTPTransport(self.dtls, settings)
        self._fingerprints = tuple(self.dtls.get_local_parameters().fingerprints)
        self.end_surfaced = False
        self._found: list[ICECandidate] = []
        self._lines: list[str] = []
        self._surfaced = 0
        self._on_change = on_change
        self.gatherer.add_listener(self._candidate_found, lambda state: on_change(), on_candidate_error)
        self.ice.add_state_listener(lambda state: on_change())
        self.dtls.add_state_listener(lambda state: on_change())
        self.sctp.set_listener(on_data_channel)

    async def gather(self) -> None:
        """Begin to gather; nothing happens the second time."""
        if self.gatherer.state is ICEGathererState.NEW:
            await self.gatherer.gather()

    def surface(self) -> list[ICECandidate]:
        """The candidates that were not surfaced before; from now on descriptions have them."""
        new = self._found[self._surfaced :]
        self._surfaced = len(self._found)
        self.end_surfaced = self.gatherer.state is ICEGathererState.COMPLETE
        return new

    def pool(self) -> None:
        """Take all candidates back into the pool: the description that surfaced them was rolled back."""
        self._surfaced = 0
        self.end_surfaced = False

    def describe(self) -> LocalTransport:
        """Our end as descriptions tell of it, with the candidates that have been surfaced."""
        parameters = self.gatherer.get_local_parameters()
        surfaced = self._found[: self._surfaced]
        pair = self.ice.get_selected_candidate_pair()
        # RFC 8839 section 4.4.1.2.2: the selected one, once there is one. But none that the peer was not told of: what
        # a check has brought to light may be an address that the transport policy hides.
        told = [pair.local] if pair is not None and pair.local in surfaced else surfaced
        return LocalTransport(
            ice_ufrag=parameters.username_fragment,
            ice_pwd=parameters.password,
            fingerprints=self._fingerprints,
            candidates=tuple(self._lines[: self._surfaced]),
            gathering_complete=self.end_surfaced,
            default_destination=default_destination(told),
        )

    async def execute(self, step: Step) -> None:
        """Do what a description asks for."""
        match step:
            case StartGathering():
                await self.gather()
            case StartTransport():
                # DTLS first: it waits for ICE, and ICE may find its path at once.
                remote_role = DTLSRole.SERVER if step.dtls_role is DTLSRole.CLIENT else DTLSRole.CLIENT
                self.dtls.start(DTLSParameters(remote_role, step.fingerprints))
                parameters = ICEParameters(step.ice_ufrag, step.ice_pwd, step.ice_lite)
                await self.ice.start(self.gatherer, parameters, step.ice_role)
            case AddRemoteCandidates():
                self._add_remote_candidates(step.candidates)
            case EndRemoteCandidates():
                self._add_remote_candidate(None)
            case StartData():
                self.sctp.start(
                    SCTPCapabilities(step.max_message_size), local_port=step.local_port, remote_port=step.remote_port
                )

    def failure(self) -> str:
        """Why there is no connection, in words."""
        if self.dtls.state is DTLSTransportState.FAILED:
            return f"DTLS has failed: {self.dtls.failure}"
        if self.ice.state is ICETransportState.FAILED:
            return f"ICE has failed: {self.ice.failure}"
        return ""

    def handlers(self) -> list[Callable[[], Awaitable[None]]]:
        """Calls that wait for the application's handlers of these objects and of the channels, while they run."""
        return [self.dtls.join, self.sctp.join, *(channel.join for channel in self.sctp.channels)]

    def stop(self) -> None:
        """End the sessions from above, so that each one's goodbye is still carried by those below."""
        self.sctp.stop()
        self.dtls.stop()

    async def close(self) -> None:
        """Give up sockets and allocations, within two seconds."""
        await self.ice.stop()

    def _candidate_found(self, candidate: ICECandidate | None) -> None:
        if candidate is not None:
            self._found.append(candidate)
            self._lines.append(candidate.candidate)
            self._on_change()

    def _add_remote_candidates(self, lines: Sequence[str]) -> None:
        for line in lines:
            try:
                candidate = unmarshal_candidate(line)
            except UnsupportedCandidateError:
                # RFC 8839 section 5.1: of a type or transport that we do not know, which is no error.
                continue
            self._add_remote_candidate(ICECandidate.from_candidate(candidate))

    def _add_remote_candidate(self, candidate: ICECandidate | None) -> None:
        if self.ice.state is not ICETransportState.CLOSED:
            self.ice.add_remote_candidate(candidate)
