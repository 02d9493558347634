"""The one transport that all sections of a connection share, from the ground up (RFC 9143)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from .certificate import Certificate
from .data_channel import DataChannel
from .dtls import DTLSParameters
from .dtls_transport import DTLSTransport
from .ice.beginning import new_credentials
from .ice.candidate import UnsupportedCandidateError, unmarshal_candidate
from .ice_gatherer import GathererListener, ICEGatherer
from .ice_parameters import ICECandidate, ICECandidateError, ICEGatherOptions, ICEParameters
from .ice_transport import ICETransport
from .jsep import (
    AddRemoteCandidates,
    BeginRestart,
    CancelRestart,
    CompleteRestart,
    EndRemoteCandidates,
    LocalTransport,
    RemoteICE,
    StartData,
    StartGathering,
    StartTransport,
    Step,
    default_destination,
)
from .sctp_transport import SCTPCapabilities, SCTPTransport
from .setting_engine import SettingEngine
from .states import DTLSRole, DTLSTransportState, ICEGathererState, ICERole, ICETransportState


class _Generation:
    """What was gathered with one pair of credentials, and how much of it descriptions tell."""

    def __init__(self, parameters: ICEParameters) -> None:
        self.parameters = parameters
        self.found: list[ICECandidate] = []
        self.lines: list[str] = []
        self.surfaced = 0
        self.end_surfaced = False

    def add(self, candidate: ICECandidate) -> None:
        self.found.append(candidate)
        self.lines.append(candidate.candidate)

    def remove(self, candidate: ICECandidate) -> None:
        if candidate in self.found:
            index = self.found.index(candidate)
            del self.found[index], self.lines[index]
            self.surfaced -= index < self.surfaced


class BundleTransport(GathererListener):
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
        self._newest = _Generation(self.gatherer.get_local_parameters())
        self._previous: _Generation | None = None
        self._next_credentials = new_credentials()
        self._peer_says_renomination: bool | None = None
        self._on_change = on_change
        self._on_candidate_error = on_candidate_error
        self.gatherer.add_listener(self)
        self.ice.add_state_listener(lambda state: on_change())
        self.dtls.add_state_listener(lambda state: on_change())
        self.sctp.set_listener(on_data_channel)

    async def gather(self) -> None:
        """Begin to gather; nothing happens the second time."""
        if self.gatherer.state is ICEGathererState.NEW:
            await self.gatherer.gather()

    def surface(self) -> list[ICECandidate]:
        """The candidates that were not surfaced before; from now on descriptions have them."""
        newest = self._newest
        new = newest.found[newest.surfaced :]
        newest.surfaced = len(newest.found)
        newest.end_surfaced = self.gatherer.state is ICEGathererState.COMPLETE
        return new

    @property
    def end_surfaced(self) -> bool:
        """Whether descriptions tell that there are no more candidates."""
        return self._newest.end_surfaced

    def pool(self) -> None:
        """Take all candidates back into the pool: the description that surfaced them was rolled back."""
        self._newest.surfaced = 0
        self._newest.end_surfaced = False

    def drain_pool(self) -> None:
        """Give up what was gathered: the servers or the policy are others now, and no description used it."""
        if self.gatherer.state is not ICEGathererState.NEW:
            self._newest = _Generation(self._newest.parameters)
            self.gatherer.discard()

    def describe(self) -> LocalTransport:
        """Our end as descriptions tell of it, with the candidates that have been surfaced."""
        return self._describe(self._newest)

    def generations(self) -> list[LocalTransport]:
        """The same, and how it was before the last ICE restart."""
        return [self._describe(one) for one in (self._newest, self._previous) if one is not None]

    def _describe(self, generation: _Generation) -> LocalTransport:
        surfaced = generation.found[: generation.surfaced]
        pair = self.ice.get_selected_candidate_pair()
        # RFC 8839 section 4.4.1.2.2: the selected one, once there is one. But none that the peer was not told of: what
        # a check has brought to light may be an address that the transport policy hides.
        told = [pair.local] if pair is not None and pair.local in surfaced else surfaced
        return LocalTransport(
            ice_ufrag=generation.parameters.username_fragment,
            ice_pwd=generation.parameters.password,
            fingerprints=self._fingerprints,
            next_credentials=self._next_credentials,
            candidates=tuple(generation.lines[: generation.surfaced]),
            gathering_complete=generation.end_surfaced,
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
                await self._start_ice(step.ice, step.ice_role)
            case BeginRestart():
                await self._begin_restart(ICEParameters(step.ice_ufrag, step.ice_pwd))
            case CompleteRestart():
                await self._start_ice(step.ice, step.ice_role)
            case CancelRestart():
                self._cancel_restart()
            case AddRemoteCandidates():
                self._add_remote_candidates(step.candidates, step.ufrag)
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

    async def _start_ice(self, remote: RemoteICE, role: ICERole) -> None:
        if remote.renomination is not self._peer_says_renomination:
            # Only what is new: the application may know better, and a restart says the same again.
            self._peer_says_renomination = remote.renomination
            self.ice.set_remote_renomination(remote.renomination)
        await self.ice.start(self.gatherer, ICEParameters(remote.ufrag, remote.pwd, remote.lite), role)

    async def _begin_restart(self, parameters: ICEParameters) -> None:
        self._previous, self._newest = self._newest, _Generation(parameters)
        self._next_credentials = new_credentials()
        await self.ice.restart(parameters)

    def _cancel_restart(self) -> None:
        if self._previous is None:
            raise AssertionError("only what was begun is cancelled")
        self._newest, self._previous = self._previous, None
        self.ice.cancel_restart()
        # Its gathering may have gone on unheard.
        there = self.gatherer.get_local_candidates()
        for candidate in [one for one in self._newest.found if one not in there]:
            self._newest.remove(candidate)
        for candidate in there:
            if candidate not in self._newest.found:
                self._newest.add(candidate)
        self._on_change()

    # What the gatherer tells

    def local_candidate(self, candidate: ICECandidate | None) -> None:
        if candidate is not None:
            self._newest.add(candidate)
            self._on_change()

    def local_candidate_removed(self, candidate: ICECandidate) -> None:
        """Descriptions do not tell of it any more; W3C has no event for it."""
        self._newest.remove(candidate)

    def gathering_failed(self, error: ICECandidateError) -> None:
        self._on_candidate_error(error)

    def gathering_changed(self) -> None:
        self._on_change()

    # The peer's candidates

    def _add_remote_candidates(self, lines: Sequence[str], ufrag: str) -> None:
        for line in lines:
            try:
                candidate = unmarshal_candidate(line)
            except UnsupportedCandidateError:
                # RFC 8839 section 5.1: of a type or transport that we do not know, which is no error.
                continue
            self._add_remote_candidate(ICECandidate.from_candidate(candidate).of_generation(ufrag))

    def _add_remote_candidate(self, candidate: ICECandidate | None) -> None:
        if self.ice.state is not ICETransportState.CLOSED:
            self.ice.add_remote_candidate(candidate)
