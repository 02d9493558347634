"""The connection to one peer: what an application talks to (W3C RTCPeerConnection)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from .bundle_transport import BundleTransport
from .certificate import Certificate
from .configuration import AnswerOptions, Configuration, OfferOptions
from .connection_states import ConnectionStates
from .data_channel import DataChannel, DataChannelInit
from .errors import (
    ArgumentTypeError,
    ConnectionClosedError,
    ConnectionFailedError,
    OperationError,
    SDPSyntaxError,
    WaitTimeoutError,
)
from .explanation import Signaled, Situation, explain, transported
from .from_signaling import check_candidate, read_candidate, read_description
from .ice_parameters import ICECandidate, ICECandidateError, ICECandidateInit, ICEGatherOptions
from .jsep import (
    Author,
    LocalDescription,
    Negotiation,
    Plan,
    RemoteDescription,
    StopTransport,
    TrickledCandidate,
    implicit_type,
)
from .jsep.signaling import Side, needs_rollback
from .negotiation_needed import NegotiationNeeded
from .runtime.closing import ClosedOnExit
from .runtime.event import Event, EventQueue
from .runtime.shared import Shared
from .sctp_transport import SCTPTransport
from .session_description import SessionDescription
from .setting_engine import SettingEngine
from .states import (
    BundlePolicy,
    ICEConnectionState,
    ICEGathererState,
    ICEGatheringState,
    PeerConnectionState,
    SDPType,
    SignalingState,
)
from .stats import StatsReport, collect

T = TypeVar("T")

logger = logging.getLogger(__name__)

# How long close() waits for handlers that are running: they are the application's, and may wait for anything.
_HANDLERS_END = 1.0


class HasSettings(Protocol):
    """What a connection needs of the API object that makes it."""

    @property
    def setting_engine(self) -> SettingEngine: ...


class PeerConnection(ClosedOnExit):
    """One end of a WebRTC session.

    Make it inside a running event loop, exchange descriptions and candidates with the peer by any way of your own,
    and close it, or use it as ``async with PeerConnection() as pc:``. Methods that negotiate run one after the other;
    on a closed connection they raise ConnectionClosedError, which is W3C's InvalidStateError.

    Events: ``on_ice_candidate(ICECandidate | None)``, None at the end, ``on_ice_candidate_error(ICECandidateError)``,
    ``on_ice_gathering_state_change``, ``on_ice_connection_state_change``, ``on_connection_state_change`` and
    ``on_signaling_state_change`` with the new state, ``on_negotiation_needed()``, ``on_data_channel(DataChannel)``.
    None of them comes any more once :meth:`close` is called, the change to ``closed`` included (W3C).
    """

    def __init__(self, configuration: Configuration | None = None, *, api: HasSettings | None = None) -> None:
        """Raises URLSyntaxError, InvalidAccessError, ValueError or TypeError for a configuration it cannot use."""
        self._configuration = _checked(configuration or Configuration())
        self._settings = api.setting_engine if api is not None else SettingEngine()
        self._logger = self._settings.logger or logger
        # RFC 8827 section 6.5: a fresh one unless the application wants to be known again.
        self._certificates = list(self._configuration.certificates) or [Certificate.generate()]
        self._shared = Shared.of_running_loop()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._running: list[Callable[[], Awaitable[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._data_wanted = False
        self._negotiation = Negotiation(
            Author(
                secrets.randbits(62),
                self._settings.sctp_max_message_size,
                renomination=self._settings.ice_renomination is not None,
                ice_lite=self._settings.lite,
            ),
            check_candidate,
            bundle_policy=BundlePolicy(self._configuration.bundle_policy),
            answering_dtls_role=self._settings.answering_dtls_role,
        )
        self._events = EventQueue("peer connection", self._shared)
        self._states = ConnectionStates(self._events, self._shared, self._log)
        self.on_ice_candidate = Event[ICECandidate | None]("on_ice_candidate", self._events)
        self.on_ice_candidate_error = Event[ICECandidateError]("on_ice_candidate_error", self._events)
        self.on_ice_gathering_state_change = self._states.on_gathering_change
        self.on_ice_connection_state_change = self._states.on_ice_change
        self.on_connection_state_change = self._states.on_connection_change
        self.on_signaling_state_change = Event[SignalingState]("on_signaling_state_change", self._events)
        self._negotiation_needed = NegotiationNeeded(self._events, self._is_stable, self._needs_offer)
        self._chain = self._negotiation_needed.chain
        self.on_negotiation_needed = self._negotiation_needed.on_negotiation_needed
        self.on_data_channel = Event[DataChannel]("on_data_channel", self._events)
        self._transport = self._make_transport()
        self._fill_pool()

    # What is known

    @property
    def signaling_state(self) -> SignalingState:
        return SignalingState.CLOSED if self._closed else self._negotiation.state.signaling

    @property
    def ice_gathering_state(self) -> ICEGatheringState:
        return self._states.gathering

    @property
    def ice_connection_state(self) -> ICEConnectionState:
        return self._states.ice

    @property
    def connection_state(self) -> PeerConnectionState:
        return self._states.connection

    @property
    def local_description(self) -> SessionDescription | None:
        """The pending one, else the current one, with the candidates found by now."""
        return self._local(self._negotiation.state.local)

    @property
    def current_local_description(self) -> SessionDescription | None:
        return self._local(self._negotiation.state.current_local)

    @property
    def pending_local_description(self) -> SessionDescription | None:
        return self._local(self._negotiation.state.pending_local)

    @property
    def remote_description(self) -> SessionDescription | None:
        """The pending one, else the current one, with the candidates that were added since."""
        return _remote(self._negotiation.state.remote)

    @property
    def current_remote_description(self) -> SessionDescription | None:
        return _remote(self._negotiation.state.current_remote)

    @property
    def pending_remote_description(self) -> SessionDescription | None:
        return _remote(self._negotiation.state.pending_remote)

    @property
    def can_trickle_ice_candidates(self) -> bool | None:
        """Whether the peer takes candidates after a description; None before its first (RFC 8829 section 4.1.17).

        To a peer that does not, send the description once :meth:`gathering_complete` returns (RFC 8838 section 3).
        """
        remote = self._negotiation.state.remote
        return None if remote is None else remote.can_trickle

    def explain(self) -> str:
        """Why the connection is in the state it is in: some lines for people, from signaling down to the path.

        Addresses and user fragments are in it, passwords are not.
        """
        state = self._negotiation.state
        signaled = Signaled(
            self.signaling_state,
            has_local=state.local is not None,
            has_remote=state.remote is not None,
            is_agreed=state.agreement is not None,
            can_trickle=self.can_trickle_ice_candidates,
            early_candidates=len(state.early),
        )
        return explain(
            Situation(self.connection_state, self.ice_gathering_state, signaled, transported(self._transport))
        )

    @property
    def sctp(self) -> SCTPTransport | None:
        """The transport of the data channels, once an answer has settled that there are some."""
        return None if self._negotiation.state.agreement is None else self._transport.sctp

    # Negotiation

    async def create_offer(
        self, options: OfferOptions | None = None, *, ice_restart: bool = False
    ) -> SessionDescription:
        """An offer for what is wanted now; nothing changes by it.

        With ``ice_restart`` it has new ICE credentials: once it is set and answered, a path is looked for anew while
        the old one carries on (RFC 8829 section 5.2.3.1). Before the first answer there is nothing to restart.
        Raises InvalidStateError while the peer's offer waits for an answer.
        """
        restart = ice_restart or (options is not None and options.ice_restart)
        return await self._chained(lambda: self._create(SDPType.OFFER, restart))

    async def create_answer(self, options: AnswerOptions | None = None) -> SessionDescription:
        """An answer to the pending remote offer; nothing changes by it. InvalidStateError when there is none."""
        return await self._chained(lambda: self._create(SDPType.ANSWER))

    async def set_local_description(self, description: SessionDescription | Mapping[str, Any] | None = None) -> None:
        """Apply a description of ours, just as it was created; without one the right one is made. Begins to gather.

        Raises InvalidStateError where its type does not fit, InvalidModificationError when its text was changed.
        """
        given = read_description(description) if description is not None else None
        await self._chained(lambda: self._set_local(given))

    async def set_remote_description(self, description: SessionDescription | Mapping[str, Any]) -> None:
        """Apply the peer's description, whole or not at all. A remote offer takes back one of ours that waits (glare).

        Raises InvalidStateError where its type does not fit, SDPSyntaxError for what is no description,
        InvalidAccessError for one that lacks something or contradicts the session, NotSupportedError for one that
        asks for new DTLS or SCTP associations.
        """
        given = read_description(description)
        await self._chained(lambda: self._set_remote(given))

    async def add_ice_candidate(
        self, candidate: ICECandidateInit | ICECandidate | Mapping[str, Any] | str | None
    ) -> None:
        """Take a candidate of the peer. None, or one with an empty text, says that there are no more.

        What comes before the peer's description waits for it. Raises OperationError for a candidate that cannot be
        read or fits no description, TypeError for one that names no section. Unknown kinds of candidates are ignored.
        """
        trickled = read_candidate(candidate)
        await self._chained(lambda: self._add_candidate(trickled))

    def restart_ice(self) -> None:
        """Let the next offer restart ICE, and ask for it by ``on_negotiation_needed``.

        The restart is done by the peer's, too, if that comes first. Nothing happens before the first description, and
        after :meth:`close` (W3C).
        """
        if not self._closed:
            self._negotiation.replace_credentials(needs_offer=True)
            self._negotiation_needed.update()

    def create_data_channel(self, label: str, init: DataChannelInit | None = None, **init_fields: Any) -> DataChannel:
        """A data channel, which opens when the connection is there; the first one needs negotiation.

        Raises ConnectionClosedError when the connection is closed, TypeError for what a channel cannot be,
        OperationError when its id is in use.
        """
        self._check_open()
        channel = self._transport.sctp.create_data_channel(label, init, **init_fields)
        self._data_wanted = True
        self._negotiation_needed.update()
        return channel

    def get_configuration(self) -> Configuration:
        """A copy of what is in force."""
        return self._configuration.copy()

    def set_configuration(self, configuration: Configuration) -> None:
        """Change servers, transport policy and pool size.

        Other servers and another policy hold for the next gathering: at once for a pool that no description has used,
        else by an ICE restart, which the next offer is (RFC 8829 section 4.1.18). :meth:`restart_ice` asks for one.
        Raises what the constructor raises, and InvalidModificationError for what was fixed by then.
        """
        self._check_open()
        new = _checked(configuration)
        has_local_description = self._negotiation.state.local is not None
        self._configuration.check_change(new, has_local_description=has_local_description)
        new.certificates = self._configuration.certificates
        self._transport.gatherer.set_options(_gather_options(new))
        old, self._configuration = self._configuration, new
        if (old.ice_servers, old.ice_transport_policy) != (new.ice_servers, new.ice_transport_policy):
            if has_local_description:
                self._negotiation.replace_credentials(needs_offer=False)
            else:
                self._transport.drain_pool()
        self._fill_pool()

    async def get_stats(self, selector: None = None) -> StatsReport:
        """Figures of the whole connection; ``selector`` is for tracks. Still there after :meth:`close`."""
        return collect(self._transport)

    # Waiting

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until the connection is there, at most ``timeout`` seconds; after a failure, until a restart has ended.

        Raises ConnectionFailedError with the reason, WaitTimeoutError, or ConnectionClosedError.
        """

        def has_ended() -> bool:
            has_failed = self.connection_state is PeerConnectionState.FAILED and not self._transport.ice.is_restarting
            return has_failed or self.connection_state is PeerConnectionState.CONNECTED

        try:
            async with asyncio.timeout(timeout):
                await self._states.wait_until(has_ended)
        except TimeoutError:
            transport = self._transport
            raise WaitTimeoutError(
                f"not connected after {timeout} s: the signaling state is {self.signaling_state.value}, "
                f"ICE is {transport.ice.state.value}, DTLS is {transport.dtls.state.value}"
            ) from None
        if self.connection_state is PeerConnectionState.FAILED:
            raise ConnectionFailedError(self._transport.failure())

    async def gathering_complete(self) -> None:
        """Wait until there is a local description with all its candidates: at once for one without a transport.

        With continual gathering these are all that were there at the beginning; more may come later.
        ConnectionClosedError when the connection is closed before.
        """

        def is_complete() -> bool:
            if self._negotiation.transport_section is None:
                return self._negotiation.state.local is not None
            if self.ice_gathering_state is ICEGatheringState.COMPLETE:
                return True
            # What goes on gathering as long as it lives has a description to send all the same.
            return self.ice_gathering_state is ICEGatheringState.GATHERING and self._transport.gatherer.has_gathered

        await self._states.wait_until(is_complete)

    async def close(self) -> None:
        """End the session at once: the peer is told, and within two seconds nothing is left of it.

        May be called at any time, from handlers too, and again. Calls that wait raise ConnectionClosedError. As with
        W3C, no event of this object tells of it, and its data channels are closed without a closing procedure.
        """
        if self._closing is None:
            self._running = [self._events.join, *self._transport.handlers()]
            self._stop()
            self._closing = self._shared.loop.create_task(self._clean_up(), name="peer connection: close")
        await asyncio.shield(self._closing)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HANDLERS_END):
                for handlers_end in self._running:
                    await handlers_end()

    # Below: operations of the chain.

    async def _chained(self, operation: Callable[[], Awaitable[T]]) -> T:
        self._check_open()
        return await self._chain.run(operation)

    async def _create(self, kind: SDPType, ice_restart: bool = False) -> SessionDescription:
        return SessionDescription(kind, self._created(kind, ice_restart))

    def _created(self, kind: SDPType, ice_restart: bool = False) -> str:
        transport = self._transport.describe()
        if kind is SDPType.OFFER:
            return self._negotiation.create_offer(transport, data=self._data_wanted, ice_restart=ice_restart)
        return self._negotiation.create_answer(transport)

    async def _set_local(self, description: SessionDescription | None) -> None:
        kind = description.type if description is not None else implicit_type(self.signaling_state)
        text = description.sdp if description is not None else ""
        if not text and kind is not SDPType.ROLLBACK:
            text = self._created(kind)
        before = self.signaling_state
        plan = self._negotiation.set_local(kind, text)
        await self._follow(before, plan)

    async def _set_remote(self, description: SessionDescription) -> None:
        before = self.signaling_state
        plan = self._negotiation.set_remote(description.type, description.sdp)
        if needs_rollback(before, Side.REMOTE, description.type):
            # W3C does a rollback and then the offer, with an event for each.
            self._signaling_changed(before, SignalingState.STABLE)
            before = SignalingState.STABLE
        await self._follow(before, plan)

    async def _add_candidate(self, candidate: TrickledCandidate) -> None:
        try:
            plan = self._negotiation.add_candidate(candidate)
        except SDPSyntaxError as error:
            raise OperationError(str(error)) from None
        await self._execute(plan)

    async def _follow(self, before: SignalingState, plan: Plan) -> None:
        """What comes after any description was set."""
        self._signaling_changed(before, self.signaling_state)
        await self._execute(plan)
        self._surface_candidates()
        self._states.wake()
        if self._is_stable():
            self._negotiation_needed.exchanged()

    async def _execute(self, plan: Plan) -> None:
        for step in plan:
            if isinstance(step, StopTransport):
                self._replace_transport()
            else:
                await self._transport.execute(step)

    # States and events

    def _make_transport(self) -> BundleTransport:
        return BundleTransport(
            _gather_options(self._configuration),
            self._certificates,
            self._settings,
            on_change=self._on_transport_change,
            on_candidate_error=self.on_ice_candidate_error.emit,
            on_data_channel=self.on_data_channel.emit,
        )

    def _fill_pool(self) -> None:
        """Gather before a description asks for it, when the configuration does (RFC 8829 section 3.5.4)."""
        if self._configuration.ice_candidate_pool_size:
            self._start_task(self._transport.gather(), "gather a pool")

    def _replace_transport(self) -> None:
        """No section uses the transport any more. A new one stands ready for a section to come."""
        old = self._transport
        self._data_wanted = False
        self._transport = self._make_transport()
        with self._shared.step:
            old.stop()
        self._start_task(old.close(), "close a transport")

    def _on_transport_change(self) -> None:
        if not self._closed:
            self._surface_candidates()
            self._states.wake()
            self._states.update(self._transport.ice.state, self._transport.dtls.state, self._transport.failure())

    def _surface_candidates(self) -> None:
        """Events in W3C's order: the state, the candidates, the state when they are complete, None."""
        section, transport = self._negotiation.transport_section, self._transport
        gatherer_state = transport.gatherer.state
        if section is None:
            transport.pool()
            self._states.set_gathering(ICEGatheringState.NEW)
            return
        if gatherer_state is ICEGathererState.NEW:
            return
        if transport.end_surfaced:
            # Also again: the generation before a restart that was taken back.
            self._states.set_gathering(ICEGatheringState.COMPLETE)
            return
        self._states.set_gathering(ICEGatheringState.GATHERING)
        mid, index = section
        for candidate in transport.surface():
            self.on_ice_candidate.emit(replace(candidate, sdp_mid=mid, sdp_mline_index=index))
        if transport.end_surfaced:
            self._states.set_gathering(ICEGatheringState.COMPLETE)
            self.on_ice_candidate.emit(None)

    def _signaling_changed(self, before: SignalingState, after: SignalingState) -> None:
        if before is not after:
            self._log(f"signaling state: {before.value} -> {after.value}")
            self.on_signaling_state_change.emit(after)

    def _is_stable(self) -> bool:
        return self.signaling_state is SignalingState.STABLE

    def _needs_offer(self) -> bool:
        return self._negotiation.needs_offer(data=self._data_wanted)

    def _log(self, change: str) -> None:
        """A change of state, under the name that the layers below give to their lines too."""
        self._logger.info("%s: %s", self._transport.ice.name, change)

    # The end

    def _stop(self) -> None:
        self._closed = True
        self._chain.close()
        self._events.close()
        with self._shared.step:
            self._transport.stop()
        self._states.close()

    async def _clean_up(self) -> None:
        await asyncio.gather(self._transport.close(), *self._tasks, return_exceptions=True)

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError("the connection is closed")

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._shared.loop.create_task(work, name=f"peer connection: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _local(self, description: LocalDescription | None) -> SessionDescription | None:
        if description is None:
            return None
        return SessionDescription(description.type, description.text_with(self._transport.generations()))


def _checked(configuration: Configuration) -> Configuration:
    if not isinstance(configuration, Configuration):
        raise ArgumentTypeError(f"configuration is a Configuration, not {configuration!r}")
    return configuration.checked()


def _gather_options(configuration: Configuration) -> ICEGatherOptions:
    return ICEGatherOptions(configuration.ice_servers, configuration.ice_transport_policy)


def _remote(description: RemoteDescription | None) -> SessionDescription | None:
    return None if description is None else SessionDescription(description.type, description.text_with_trickled())
