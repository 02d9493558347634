"""The ICE agent: sockets, servers and timers around the core."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from ..errors import ConnectionClosedError, ConnectionFailedError, InvalidStateError
from ..runtime.driver import Driver
from ..runtime.event import Event, EventQueue
from ..runtime.network import DatagramSocket
from ..runtime.shared import Shared
from ..runtime.system_network import SystemNetwork
from ..states import CandidateType, ICEGathererState, ICERole, ICETransportState, MulticastDNSMode, NetworkType
from ..train import Train
from .addresses import LocalAddress, local_addresses
from .agent_options import AgentOptions
from .binding import BindingQueries, keepalive
from .candidate import Candidate
from .conn import Conn
from .core import Core
from .data_path import DataPath, DataReceiver
from .events import Happening, Outgoing, PermissionNeeded, SelectedPairChanged, StateChanged
from .gather import Base, Gathering, GatheringError, GatherPlan
from .listener import AgentListener
from .mdns import LocalNames
from .pair import CandidatePair
from .relay import Relay
from .stats import CandidatePairStats

logger = logging.getLogger(__name__)

# RFC 8445 section 5.3 asks for 24 and 128 bits of chance; these are 48 and 144.
_UFRAG_OCTETS = 6
_PWD_OCTETS = 18
# RFC 8445 section 11: often enough for a NAT's mapping to live until the checks keep it alive.
_BINDING_KEEPALIVE_INTERVAL = 15.0
_MAX_LOOKUPS = 32
_CLOSE_TIMEOUT = 2.0
_SEEKING = (ICETransportState.NEW, ICETransportState.CHECKING)


class Agent:
    """Gathers candidates, finds a path to the peer's, keeps it alive, and carries datagrams over it.

    Events: ``on_candidate(Candidate | None)``, ``on_candidate_error(GatheringError)``,
    ``on_gathering_state_change(ICEGathererState)``, ``on_connection_state_change(ICETransportState)``,
    ``on_selected_candidate_pair_change(local, remote)``.
    """

    def __init__(self, options: AgentOptions | None = None) -> None:
        self._options = options = options or AgentOptions()
        self._shared = Shared.of_running_loop()
        self._network = options.net or SystemNetwork()
        self._core = Core(
            tie_breaker=secrets.randbits(64),
            local_ufrag=options.local_ufrag or _random_text(_UFRAG_OCTETS),
            local_pwd=options.local_pwd or _random_text(_PWD_OCTETS),
            seed=secrets.token_bytes(32),
            timings=options.core_timings,
            remote_ip_filter=_guarded(options.remote_ip_filter),
        )
        self._driver = Driver[Outgoing, Happening](self._core, self._send_check, self._on_happening, self._shared)
        self._bases: dict[int, Base] = {}
        self._last_base_id = 0
        self._queries = BindingQueries(self._shared)
        self._gathering: Gathering | None = None
        self._gathering_state = ICEGathererState.NEW
        self._tasks: set[asyncio.Task[None]] = set()
        self._binding_timer: asyncio.TimerHandle | None = None
        self._names: LocalNames | None = None
        self._lookups = 0
        self._remote_ended = False
        self._data = DataPath(self._core, self._bases, self._queries, self._driver.flush, self._shared)
        self._failure = ""
        self._closing: asyncio.Task[None] | None = None
        self._listeners: list[AgentListener] = []
        self._events = EventQueue("ICE agent", self._shared)
        self.on_candidate = Event[Candidate | None]("on_candidate", self._events)
        self.on_candidate_error = Event[GatheringError]("on_candidate_error", self._events)
        self.on_gathering_state_change = Event[ICEGathererState]("on_gathering_state_change", self._events)
        self.on_connection_state_change = Event[ICETransportState]("on_connection_state_change", self._events)
        self.on_selected_candidate_pair_change = Event[Candidate, Candidate](
            "on_selected_candidate_pair_change", self._events
        )

    async def __aenter__(self) -> Agent:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What is known

    @property
    def connection_state(self) -> ICETransportState:
        return self._core.state

    @property
    def gathering_state(self) -> ICEGathererState:
        return self._gathering_state

    @property
    def role(self) -> ICERole:
        return self._core.role

    @property
    def failure(self) -> str:
        """Why the agent has failed; empty when it has not."""
        return self._failure

    def get_local_user_credentials(self) -> tuple[str, str]:
        """The user fragment and password that the peer needs."""
        return self._core.local_ufrag, self._core.local_pwd

    def get_local_candidates(self) -> list[Candidate]:
        """What the peer is told of: link-local addresses are used too, but mean nothing elsewhere."""
        return [candidate for candidate in self._core.local_candidates if "%" not in candidate.address]

    def get_remote_candidates(self) -> list[Candidate]:
        return self._core.remote_candidates

    def get_selected_candidate_pair(self) -> tuple[Candidate, Candidate] | None:
        """Our candidate and the peer's, of the path that is in use."""
        pair = self._core.selected
        return None if pair is None else (pair.local, pair.remote)

    def get_candidate_pairs_stats(self) -> list[CandidatePairStats]:
        epoch = time.time() - self._shared.loop.time()
        selected = self._core.selected
        return [CandidatePairStats.of(pair, selected=pair is selected, epoch=epoch) for pair in self._core.pairs]

    def get_selected_candidate_pair_stats(self) -> CandidatePairStats | None:
        pair = self._core.selected
        if pair is None:
            return None
        return CandidatePairStats.of(pair, selected=True, epoch=time.time() - self._shared.loop.time())

    def add_listener(self, listener: AgentListener) -> None:
        self._listeners.append(listener)

    # Gathering

    def set_options(self, options: AgentOptions) -> None:
        """Gather with other servers or candidate types. Credentials stay, and timings too once it has been started."""
        self._options = options
        if self._core.state is ICETransportState.NEW:
            self._core.timings = options.core_timings

    async def gather_candidates(self) -> None:
        """Begin to gather, and return; candidates come through ``on_candidate``. InvalidStateError the second time."""
        self._check_open()
        if self._gathering_state is not ICEGathererState.NEW:
            raise InvalidStateError(f"the agent's gathering state is {self._gathering_state}; it gathers once")
        options = self._options
        addresses = local_addresses(
            self._network.interfaces(),
            use_ipv4=NetworkType.UDP4 in options.network_types,
            use_ipv6=NetworkType.UDP6 in options.network_types,
            include_loopback=options.include_loopback,
            interface_filter=options.interface_filter,
            ip_filter=options.ip_filter,
        )
        plan = GatherPlan(
            addresses=addresses,
            urls=list(dict.fromkeys(options.server_urls)),
            candidate_types=frozenset(CandidateType(one) for one in options.candidate_types),
            ufrag=self._core.local_ufrag,
            timeout=options.stun_gather_timeout,
            port_range=options.port_range,
            tls_context=options.tls_context,
            bind_relays=options.interface_filter is not None or options.ip_filter is not None,
        )
        self._gathering = Gathering(plan, self, self._network, self._queries, self._shared)
        self._set_gathering_state(ICEGathererState.GATHERING)
        self._start_task(self._gather(self._gathering), "gather")
        self._binding_timer = self._shared.loop.call_later(_BINDING_KEEPALIVE_INTERVAL, self._keep_bindings)

    async def gathering_complete(self) -> None:
        """Wait until all candidates have been found. ConnectionClosedError when the agent is closed before."""
        await self._wait_for(lambda: self._gathering_state is ICEGathererState.COMPLETE, or_failure=False)

    async def _gather(self, gathering: Gathering) -> None:
        await gathering.run()
        now = self._shared.loop.time()
        with self._shared.step:
            self._core.local_gathering_done(now)
            self._set_gathering_state(ICEGathererState.COMPLETE)
            for listener in self._listeners:
                listener.local_candidate(None)
            self.on_candidate.emit(None)
            self._driver.flush(now)

    def add_socket(self, socket: DatagramSocket, address: LocalAddress) -> Base:
        """Gathering has opened a socket."""
        base = self._add_base(socket, address)
        socket.set_receiver(self._data.receiver_for(base.id, link_local="%" in address.host))
        return base

    def add_relay(self, relay: Relay) -> Base:
        """Gathering has got an allocation."""
        base = self._add_base(relay, None)
        relay.set_receiver(self._data.receiver_for(base.id))
        return base

    def _add_base(self, socket: DatagramSocket | Relay, address: LocalAddress | None) -> Base:
        self._last_base_id += 1
        base = Base(self._last_base_id, socket, address)
        self._bases[base.id] = base
        return base

    def add_candidate(self, candidate: Candidate, base: Base) -> None:
        """Gathering has found a candidate. The peer is told before it is checked (RFC 8838 section 10)."""
        now = self._shared.loop.time()
        with self._shared.step:
            if self._core.add_local_candidate(candidate, base.id, now):
                if base.address is None or base.address.is_announced:
                    for listener in self._listeners:
                        listener.local_candidate(candidate)
                    self.on_candidate.emit(candidate)
                self._driver.flush(now)

    def gathering_failed(self, error: GatheringError) -> None:
        with self._shared.step:
            for listener in self._listeners:
                listener.gathering_failed(error)
            self.on_candidate_error.emit(error)

    def relay_lost(self, relay: Relay, reason: str) -> None:
        """An allocation has ended before its time: its candidate is no more."""
        now = self._shared.loop.time()
        for base in list(self._bases.values()):
            if base.socket is relay:
                logger.info("ICE %s: the relay %s is lost: %s", self._core.local_ufrag, relay.local_address, reason)
                del self._bases[base.id]
                self._core.base_lost(base.id, now, reason=f"the relay is lost: {reason}")
                self._driver.flush(now)
        relay.abort()

    def permission_refused(self, relay: Relay, host: str, reason: str) -> None:
        """A TURN server lets nothing through to this host."""
        now = self._shared.loop.time()
        for base in self._bases.values():
            if base.socket is relay:
                self._core.base_lost(base.id, now, host=host, reason=f"the TURN server refuses {host}: {reason}")
        self._driver.flush(now)

    def _keep_bindings(self) -> None:
        """RFC 8445 section 5.1.1.4: NATs must not forget the server-reflexive candidates before ICE has concluded."""
        self._binding_timer = None
        if self._gathering is None or self._core.state not in _SEEKING:
            return
        for socket, server in self._gathering.bindings:
            socket.send(Train.of(keepalive()), server)
        self._binding_timer = self._shared.loop.call_later(_BINDING_KEEPALIVE_INTERVAL, self._keep_bindings)

    # The peer

    def set_remote_credentials(self, ufrag: str, pwd: str) -> None:
        """The peer's user fragment and password. InvalidAccessError when they are outside RFC 8839 section 5.4."""
        self._check_open()
        now = self._shared.loop.time()
        self._core.set_remote_credentials(ufrag, pwd, now)
        self._flush(now)

    def start(self, controlling: bool, ufrag: str, pwd: str, *, remote_lite: bool = False) -> None:
        """Begin to check the peer's candidates. The offering side controls (RFC 8445 section 6.1.1)."""
        self._check_open()
        now = self._shared.loop.time()
        self._core.set_remote_lite(remote_lite)
        self._core.set_remote_credentials(ufrag, pwd, now)
        self._core.start(controlling, now)
        self._flush(now)

    def _flush(self, now: float) -> None:
        self._driver.flush(now)
        self._data.take_unproved(now)

    async def dial(self, ufrag: str, pwd: str) -> Conn:
        """Connect as the controlling agent. ConnectionFailedError when there is no path."""
        return await self._connect(True, ufrag, pwd)

    async def accept(self, ufrag: str, pwd: str) -> Conn:
        """Connect as the controlled agent. ConnectionFailedError when there is no path."""
        return await self._connect(False, ufrag, pwd)

    async def _connect(self, controlling: bool, ufrag: str, pwd: str) -> Conn:
        # A call that is refused must leave alone what an earlier one has made.
        self.start(controlling, ufrag, pwd)
        conn = Conn(self, self._shared)
        await self._wait_for(lambda: self._core.selected is not None, or_failure=True)
        return conn

    async def _wait_for(self, condition: Callable[[], bool], *, or_failure: bool) -> None:
        """Wait for a change that makes it true. ConnectionFailedError or ConnectionClosedError when none can."""
        waiter = _Waiter()
        self._listeners.append(waiter)
        try:
            while not condition():
                if self._closing is not None:
                    raise ConnectionClosedError("the ICE agent was closed")
                if or_failure and self._core.state is ICETransportState.FAILED:
                    raise ConnectionFailedError(f"ICE has failed: {self._failure}")
                waiter.changed.clear()
                await waiter.changed.wait()
        finally:
            self._listeners.remove(waiter)

    def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """A candidate of the peer's, or None: it has no more. A ``.local`` name is looked up and holds up nothing."""
        self._check_open()
        now = self._shared.loop.time()
        if candidate is None:
            self._remote_ended = True
            self._end_remote_candidates(now)
        elif not candidate.is_hidden:
            self._core.add_remote_candidate(candidate, now)
        elif self._options.multicast_dns_mode is not MulticastDNSMode.DISABLED and self._lookups < _MAX_LOOKUPS:
            self._lookups += 1
            self._start_task(self._look_up(candidate), f"look up {candidate.address}")
        else:
            logger.debug("%s is not looked up", candidate.address)
        self._driver.flush(now)

    async def _look_up(self, candidate: Candidate) -> None:
        try:
            address = await self._resolve_local_name(candidate.address)
        finally:
            self._lookups -= 1
        now = self._shared.loop.time()
        with self._shared.step:
            if address is None:
                logger.info("%s was not resolved: its candidate is left out", candidate.address)
            else:
                self._core.add_remote_candidate(candidate, now, address)
            self._end_remote_candidates(now)
            self._driver.flush(now)

    async def _resolve_local_name(self, name: str) -> str | None:
        timeout = self._options.stun_gather_timeout
        if self._options.net is None:
            if self._names is None:
                self._names = LocalNames.acquire()
            return await self._names.resolve(name, timeout)
        try:
            async with asyncio.timeout(timeout):
                return (await self._network.resolve(name, 0))[0][0]
        except (OSError, TimeoutError):
            return None

    def _end_remote_candidates(self, now: float) -> None:
        if self._remote_ended and not self._lookups:
            self._core.end_of_remote_candidates(now)

    # The data path

    @property
    def dropped(self) -> int:
        """Datagrams that came from where no peer was proved, that nobody took in time, or that had no path to go."""
        return self._data.dropped

    def set_data_receiver(self, receiver: DataReceiver | None) -> None:
        """Who takes the peer's datagrams. A few that came before are handed over now."""
        self._data.set_receiver(receiver)

    def send(self, train: Train) -> None:
        """Send over the path; without one the train is dropped and counted."""
        self._data.send(train)

    # What the core tells

    def _send_check(self, outgoing: Outgoing) -> None:
        base = self._bases.get(outgoing.base_id)
        if base is not None:
            base.socket.send(Train.of(outgoing.data), outgoing.destination)

    def _on_happening(self, event: Happening) -> None:
        if isinstance(event, StateChanged):
            self._on_state(event.state, event.reason)
        elif isinstance(event, SelectedPairChanged):
            self._on_selected(event.pair)
        elif isinstance(event, PermissionNeeded):
            base = self._bases.get(event.base_id)
            if base is not None and isinstance(base.socket, Relay):
                base.socket.permit(event.address[0], self._shared.loop.time())

    def _on_state(self, state: ICETransportState, reason: str) -> None:
        logger.info("ICE %s is %s: %s", self._core.local_ufrag, state, reason)
        if state is ICETransportState.FAILED:
            self._failure = reason
        for listener in list(self._listeners):
            listener.state_changed(state, reason)
        self.on_connection_state_change.emit(state)

    def _on_selected(self, pair: CandidatePair) -> None:
        base = self._bases.get(pair.base_id)
        if base is not None and isinstance(base.socket, Relay):
            base.socket.bind_channel(pair.destination, self._shared.loop.time())
        for listener in list(self._listeners):
            listener.selected_pair_changed(pair)
        self.on_selected_candidate_pair_change.emit(pair.local, pair.remote)

    def _set_gathering_state(self, state: ICEGathererState) -> None:
        self._gathering_state = state
        for listener in list(self._listeners):
            listener.gathering_state_changed(state)
        self.on_gathering_state_change.emit(state)

    # The end

    async def close(self) -> None:
        """Stop at once; within two seconds nothing is left: no socket, no task, no allocation on a TURN server."""
        if self._closing is None:
            with self._shared.step:
                self._stop()
            self._closing = self._shared.loop.create_task(self._clean_up(), name="close the ICE agent")
        await asyncio.shield(self._closing)

    def _stop(self) -> None:
        now = self._shared.loop.time()
        self._core.close()
        self._driver.flush(now)
        self._driver.close()
        if self._binding_timer is not None:
            self._binding_timer.cancel()
        self._data.close()
        for task in self._tasks:
            task.cancel()
        for base in self._bases.values():
            base.socket.set_receiver(None)
            if not isinstance(base.socket, Relay):
                base.socket.close()
        if self._gathering_state is not ICEGathererState.CLOSED:
            self._set_gathering_state(ICEGathererState.CLOSED)
        self._events.close_after_queued()

    async def _clean_up(self) -> None:
        relays = [base.socket for base in self._bases.values() if isinstance(base.socket, Relay)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await asyncio.gather(*(relay.close() for relay in relays), *self._tasks, return_exceptions=True)
        for relay in relays:
            relay.abort()
        self._bases.clear()
        if self._names is not None:
            await self._names.release()

    def _check_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("the ICE agent is closed")

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._shared.loop.create_task(work, name=f"ICE: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Waiter(AgentListener):
    """Wakes somebody who waits for a change of the agent."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def gathering_state_changed(self, state: ICEGathererState) -> None:
        self.changed.set()

    def state_changed(self, state: ICETransportState, reason: str) -> None:
        self.changed.set()

    def selected_pair_changed(self, pair: CandidatePair) -> None:
        self.changed.set()


def _random_text(octets: int) -> str:
    """Base64 has ICE's alphabet, and no padding when ``octets`` is a multiple of three."""
    return base64.b64encode(secrets.token_bytes(octets)).decode()


def _guarded(ip_filter: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    """The application's filter, asked about what strangers send: what it raises is logged, and means no."""
    if ip_filter is None:
        return None

    def is_allowed(host: str) -> bool:
        try:
            return bool(ip_filter(host))
        except Exception:
            logger.exception("the remote IP filter raised for %s", host)
            return False

    return is_allowed
