"""The SCTP association of a connection, and the data channels on it (W3C RTCSctpTransport, RFC 8831)."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .data_channel import DataChannel, DataChannelInit, make_init
from .datachannel import dcep
from .datachannel.message import PPID, decode
from .datachannel.stream_id import LARGEST_STREAM_ID, StreamIDs
from .dtls_transport import DTLSTransport
from .errors import ConnectionClosedError, OperationError, ParseError, RTCError
from .runtime.driver import Driver
from .runtime.event import Event, EventQueue
from .runtime.shared import Shared
from .sctp.association import Association, AssociationConfig
from .sctp.events import (
    AssociationEvent,
    BufferedAmountLow,
    Closed,
    Established,
    MessageReceived,
    Restarted,
    StreamsResetByPeer,
    StreamsResetDone,
    StreamsResetFailed,
)
from .setting_engine import SettingEngine
from .states import DataChannelState, DTLSRole, DTLSTransportState, SCTPTransportState
from .train import Train

logger = logging.getLogger(__name__)

DEFAULT_SCTP_PORT = 5000

# Characters of labels and protocols that the peer's channels may have together: a peer could otherwise make us hold
# 64 KiB twice for each of 32 768 channels, which no window limits.
_MAX_TEXT = 1 << 23


@dataclass(frozen=True, slots=True)
class SCTPCapabilities:
    """What the peer's description says (RFC 8841). ``max_message_size`` is in bytes; 0 means any size."""

    max_message_size: int


class SCTPTransport:
    """Starts when both the descriptions and DTLS are there; both ends then open the association (RFC 8841 section 9.3).

    Events: ``on_state_change(SCTPTransportState)``, ``on_error(RTCError)``, ``on_data_channel(DataChannel)`` for each
    channel that the peer opens.
    """

    def __init__(self, dtls_transport: DTLSTransport, setting_engine: SettingEngine | None = None) -> None:
        self._dtls = dtls_transport
        self._name = dtls_transport.name
        self._settings = setting_engine or SettingEngine()
        self._shared = Shared.of_running_loop()
        self._state = SCTPTransportState.CONNECTING
        self._association: Association | None = None
        self._driver: Driver[Train, AssociationEvent] | None = None
        self._max_message_size: float = math.inf
        self._flush_posted = False
        self._ids = StreamIDs()
        self._channels: dict[int, DataChannel] = {}
        self._without_id: list[DataChannel] = []
        self._unacknowledged: set[int] = set()
        self._reset_by_peer: set[int] = set()
        self._reset_done: set[int] = set()
        self._text = 0
        """Characters in the labels and protocols of all channels."""
        self._on_channel: Callable[[DataChannel], None] | None = None
        self.data_channels_opened = 0
        self.data_channels_closed = 0
        self.messages_dropped = 0
        """Messages of the peer that belong to no channel, or whose payload identifier is none of WebRTC's."""
        self.failure = ""
        """Why the association has failed, in words; empty when it has not."""
        self._events = EventQueue("SCTP transport", self._shared)
        self.on_state_change: Event[SCTPTransportState] = Event("on_state_change", self._events)
        self.on_error: Event[RTCError] = Event("on_error", self._events)
        self.on_data_channel: Event[DataChannel] = Event("on_data_channel", self._events)
        dtls_transport.add_state_listener(self._dtls_state_changed)
        dtls_transport.ice_transport.add_path_listener(self._path_changed)

    @property
    def transport(self) -> DTLSTransport:
        return self._dtls

    @property
    def state(self) -> SCTPTransportState:
        return self._state

    @property
    def max_message_size(self) -> float:
        """Bytes that the peer takes in one message; ``math.inf`` when it sets no limit."""
        return self._max_message_size

    @property
    def max_channels(self) -> int | None:
        """How many channels both ends' streams allow, once connected."""
        return self._ids.limit if self._state is SCTPTransportState.CONNECTED else None

    @property
    def association(self) -> Association | None:
        """The engine, for its statistics."""
        return self._association

    @property
    def channels(self) -> list[DataChannel]:
        """The channels that are not closed."""
        return [*self._channels.values(), *self._without_id]

    def set_listener(self, on_channel: Callable[[DataChannel], None]) -> None:
        """For the peer connection: who is told of each channel that the peer opens, before the channel's own events."""
        self._on_channel = on_channel

    def start(
        self,
        capabilities: SCTPCapabilities,
        *,
        local_port: int = DEFAULT_SCTP_PORT,
        remote_port: int = DEFAULT_SCTP_PORT,
    ) -> None:
        """Take the peer's part of the negotiation and connect as soon as DTLS is. Later calls only set the size."""
        self._max_message_size = capabilities.max_message_size or math.inf
        if self._association is not None or self._state is SCTPTransportState.CLOSED:
            return
        self._association = Association(
            config=AssociationConfig(
                local_port=local_port,
                remote_port=remote_port,
                max_receive_buffer=self._settings.sctp_max_receive_buffer_size,
                max_message_size=self._settings.sctp_max_message_size,
                zero_checksum=self._settings.sctp_zero_checksum,
            ),
            verification_tag=1 + secrets.randbelow(0xFFFFFFFF),
            initial_tsn=secrets.randbits(32),
            cookie_key=secrets.token_bytes(32),
            built=self._shared.built,
        )
        self._driver = Driver(self._association, self._dtls.send, self._handle_event, self._shared)
        if self._dtls.state is DTLSTransportState.CONNECTED:
            self._connect()

    def create_data_channel(self, label: str, init: DataChannelInit | None = None, **init_fields: Any) -> DataChannel:
        """A channel that opens as soon as the association is up.

        OperationError when its id is in use, or once connected, when all are.
        """
        init = make_init(init, init_fields)
        if self._state is SCTPTransportState.CLOSED:
            raise ConnectionClosedError("the SCTP transport is closed")
        if self._association is not None and not self._association.accepts_data:
            raise ConnectionClosedError("the SCTP association is being closed")
        stream_id = init.stream_id
        if stream_id is not None and (stream_id in self._ids or stream_id >= self._ids.limit):
            raise OperationError(f"the data channel id {stream_id} is in use, or beyond {self._ids.limit - 1}")
        if stream_id is None and self._state is SCTPTransportState.CONNECTED and self._ids.free() is None:
            raise OperationError(f"all of our streams, every second of {self._ids.limit}, are in use")
        channel = self._make_channel(label, init)
        if stream_id is not None:
            self._ids.reserve(stream_id)
            self._channels[stream_id] = channel
        else:
            self._without_id.append(channel)
        if self._state is SCTPTransportState.CONNECTED:
            self._open(channel)
            self._post_flush()
        return channel

    def stop(self) -> None:
        """Abort the association, if there is one, and close all channels at once (W3C's abrupt close)."""
        if self._association is not None and self._driver is not None:
            now = self._shared.loop.time()
            self._association.abort("closed by the application", now)
            self._driver.flush(now)
        self._detach()
        self._close(None)

    async def join(self) -> None:
        """Wait for the handlers that are running."""
        await self._events.join()

    # The channels' side (ChannelTransport).

    def send(self, channel: DataChannel, ppid: int, data: bytes, counted: bool) -> None:
        if self._association is None or channel.id is None:
            raise AssertionError("an open channel has an association and an id")
        init = channel.init
        lifetime = init.max_packet_life_time
        self._association.send(
            channel.id,
            ppid,
            data,
            self._shared.loop.time(),
            # RFC 8832 section 6: ordered, so that nothing overtakes the OPEN, until the peer is known to have it.
            ordered=init.ordered or channel.id in self._unacknowledged,
            max_retransmits=init.max_retransmits,
            lifetime=None if lifetime is None else lifetime / 1000,
            counted=counted,
        )
        self._post_flush()

    def close_channel(self, channel: DataChannel) -> None:
        stream_id = channel.id
        if self._state is not SCTPTransportState.CONNECTED or stream_id is None or self._association is None:
            self._forget(channel)
            channel.set_closed()
            return
        self._association.reset_streams([stream_id], self._shared.loop.time())
        self._post_flush()

    def consumed(self, size: int) -> None:
        if self._association is not None and size:
            self._association.consumed(size)
            self._post_flush()

    def buffered_amount(self, channel: DataChannel) -> int:
        stream_id = channel.id
        # The stream of a channel that is closed may be another channel's by now.
        if self._association is None or stream_id is None or self._channels.get(stream_id) is not channel:
            return 0
        return self._association.buffered_amount(stream_id)

    def set_low_threshold(self, channel: DataChannel, threshold: int) -> None:
        stream_id = channel.id
        if self._association is not None and stream_id is not None and self._channels.get(stream_id) is channel:
            self._association.set_buffered_amount_low_threshold(stream_id, threshold)

    # Below: what arrives.

    def _dtls_state_changed(self, state: DTLSTransportState) -> None:
        if state is DTLSTransportState.CONNECTED and self._association is not None:
            self._connect()
        elif state is DTLSTransportState.CLOSED:
            self._detach()
            self._close(None)
        elif state is DTLSTransportState.FAILED:
            self._detach()
            self._close(RTCError("dtls-failure", "the DTLS transport failed"))

    def _detach(self) -> None:
        """Nothing is below any more. Until then, an association that has ended tells a peer that goes on with it."""
        if self._driver is not None:
            self._driver.close()
        self._dtls.set_data_receiver(None)

    def _path_changed(self, lost: bool) -> None:
        """What SCTP learnt of the old path, its packet size for one, may be wrong of the new (RFC 8261 section 6.1)."""
        if self._association is not None:
            self._association.set_path_changed(self._shared.loop.time(), lost=lost)
            self._post_flush()

    def _connect(self) -> None:
        if self._association is None or self._driver is None:
            return
        self._ids.parity = 0 if self._dtls.role is DTLSRole.CLIENT else 1
        now = self._shared.loop.time()
        self._association.connect(now)
        self._driver.flush(now)
        self._dtls.set_data_receiver(self._receive)

    def _receive(self, train: Train, now: float) -> None:
        if self._association is not None:
            self._association.receive(train, now)
            # One flush for all trains of a step: one SACK, and the answers in trains of their own.
            self._post_flush()

    def _post_flush(self) -> None:
        if not self._flush_posted:
            self._flush_posted = True
            self._shared.step.post(self._flush)

    def _flush(self) -> None:
        self._flush_posted = False
        if self._driver is not None:
            self._driver.flush(self._shared.loop.time())

    def _handle_event(self, event: AssociationEvent) -> None:
        if type(event) is MessageReceived:
            self._message_received(event.stream_id, event.ppid, event.data)
        elif isinstance(event, BufferedAmountLow):
            channel = self._channels.get(event.stream_id)
            if channel is not None:
                channel.buffered_amount_is_low()
        elif isinstance(event, Established):
            self._established(event)
        elif isinstance(event, StreamsResetByPeer):
            self._streams_reset_by_peer(event.stream_ids)
        elif isinstance(event, StreamsResetDone):
            self._streams_reset_done(event.stream_ids)
        elif isinstance(event, StreamsResetFailed):
            self._streams_reset_failed(event.stream_ids)
        elif isinstance(event, Restarted):
            self._restarted(event)
        elif isinstance(event, Closed):
            self._association_closed(event)

    def _established(self, event: Established) -> None:
        if self._state is not SCTPTransportState.CONNECTING:
            return
        self._ids.limit = min(event.outbound_streams, event.inbound_streams, LARGEST_STREAM_ID + 1)
        self._set_state(SCTPTransportState.CONNECTED)
        for channel in self.channels:
            self._open(channel)
        self._post_flush()

    def _restarted(self, event: Restarted) -> None:
        """The peer began anew and knows nothing of the channels that were: they end, and new ones may be opened."""
        self._ids.limit = min(event.outbound_streams, event.inbound_streams, LARGEST_STREAM_ID + 1)
        error = RTCError("sctp-failure", "the peer restarted the SCTP association")
        logger.info("SCTP %s: %s; %d data channels end with it", self._name, error, len(self._channels))
        for channel in self.channels:
            self._forget(channel)
            channel.set_closed(error)
        # The resets that were under way went with the old association.
        self._ids.clear()

    def _open(self, channel: DataChannel) -> None:
        if channel.negotiated:
            if channel.id is not None and channel.id >= self._ids.limit:
                self._fail(channel, f"the peer has only {self._ids.limit} streams")
            else:
                channel.set_open()
                self.data_channels_opened += 1
            return
        self._without_id.remove(channel)
        stream_id = self._ids.allocate()
        if stream_id is None:
            self._fail(channel, "all streams are in use")
            return
        channel.set_id(stream_id)
        self._channels[stream_id] = channel
        self._unacknowledged.add(stream_id)
        init = channel.init
        self._send_dcep(
            stream_id,
            dcep.Open(
                channel.label,
                init.protocol,
                init.ordered,
                max_retransmits=init.max_retransmits,
                max_packet_life_time=init.max_packet_life_time,
            ),
        )
        # W3C lets a channel open as soon as its OPEN is sent: user data may follow at once (RFC 8832 section 6).
        channel.set_open()
        self.data_channels_opened += 1

    def _send_dcep(self, stream_id: int, message: dcep.Open | dcep.Ack) -> None:
        # What arrived just before the peer's SHUTDOWN or ABORT is answered no more.
        if self._association is not None and self._association.accepts_data:
            now = self._shared.loop.time()
            self._association.send(stream_id, PPID.DCEP, message.serialize(), now, counted=False)

    def _message_received(self, stream_id: int, ppid: int, data: bytes) -> None:
        channel = self._channels.get(stream_id)
        if ppid == PPID.DCEP:
            self.consumed(len(data))
            self._dcep_received(stream_id, channel, data)
            return
        if channel is None or channel.ready_state is DataChannelState.CLOSED:
            self._drop(stream_id, len(data), "on a stream without a channel")
            if channel is None:
                self._reset_unused(stream_id)
            return
        self._unacknowledged.discard(stream_id)
        if ppid in (PPID.STRING_PARTIAL, PPID.BINARY_PARTIAL):
            self._drop(stream_id, len(data), "with a deprecated partial payload identifier")
            channel.start_closing()
            return
        try:
            message = decode(ppid, data)
        except ParseError as error:
            self._drop(stream_id, len(data), str(error))
            return
        channel.message_received(message, len(data))

    def _drop(self, stream_id: int, size: int, why: str) -> None:
        self.messages_dropped += 1
        logger.debug("dropped a message of %d bytes on stream %d: %s", size, stream_id, why)
        self.consumed(size)

    def _dcep_received(self, stream_id: int, channel: DataChannel | None, data: bytes) -> None:
        try:
            message = dcep.parse(data)
        except ParseError as error:
            self.messages_dropped += 1
            logger.debug("stream %d: %s", stream_id, error)
            if channel is None:
                self._reset_unused(stream_id)
            return
        if isinstance(message, dcep.Ack):
            self._unacknowledged.discard(stream_id)
        elif channel is not None:
            # RFC 8832 section 6: an OPEN on a used stream closes the channel there.
            logger.debug("%r: the peer opened its stream again", channel)
            channel.start_closing()
        elif stream_id % 2 == self._ids.parity or stream_id >= self._ids.limit:
            logger.debug("the peer opened a data channel on stream %d, which is not one for it", stream_id)
            self._reset_unused(stream_id)
        else:
            self._open_by_peer(stream_id, message)

    def _open_by_peer(self, stream_id: int, message: dcep.Open) -> None:
        if stream_id in self._ids:
            # Our side of the stream's last channel is still being reset.
            self._reset_unused(stream_id)
            return
        if self._text + len(message.label) + len(message.protocol) > _MAX_TEXT:
            logger.debug("the peer's data channels have too much text in their labels and protocols")
            self._reset_unused(stream_id)
            return
        lifetime, retransmits = message.max_packet_life_time, message.max_retransmits
        init = DataChannelInit(
            ordered=message.ordered,
            # The wire has 32 bits for what W3C gives 16.
            max_packet_life_time=None if lifetime is None else min(lifetime, 65535),
            max_retransmits=None if retransmits is None else min(retransmits, 65535),
            protocol=message.protocol,
        )
        channel = self._make_channel(message.label, init)
        channel.set_id(stream_id)
        self._ids.reserve(stream_id)
        self._channels[stream_id] = channel
        self._send_dcep(stream_id, dcep.Ack())
        self._post_flush()
        if self._on_channel is not None:
            self._on_channel(channel)
        self.on_data_channel.emit(channel)
        channel.set_open()
        self.data_channels_opened += 1

    def _make_channel(self, label: str, init: DataChannelInit) -> DataChannel:
        channel = DataChannel(
            self, label, init, deliver_to_handler=not self._settings.detached_data_channels, shared=self._shared
        )
        self._text += len(channel.label) + len(channel.protocol)
        return channel

    def _reset_unused(self, stream_id: int) -> None:
        if self._association is not None and stream_id not in self._ids:
            self._ids.reserve(stream_id)
            self._association.reset_streams([stream_id], self._shared.loop.time())
            self._post_flush()

    def _streams_reset_by_peer(self, stream_ids: list[int]) -> None:
        for stream_id in stream_ids or list(self._channels):
            channel = self._channels.get(stream_id)
            if channel is None:
                # The peer's half of a stream that we refused, or that never had a channel.
                continue
            self._reset_by_peer.add(stream_id)
            channel.start_closing()
            self._close_when_both_reset(stream_id)

    def _streams_reset_done(self, stream_ids: list[int]) -> None:
        for stream_id in stream_ids:
            if stream_id in self._channels:
                self._reset_done.add(stream_id)
                self._close_when_both_reset(stream_id)
            else:
                self._ids.release(stream_id)

    def _streams_reset_failed(self, stream_ids: list[int]) -> None:
        """The peer will not reset its side either. The channel ends, and its stream is not used again."""
        for stream_id in stream_ids:
            channel = self._channels.get(stream_id)
            if channel is not None:
                self._forget(channel)
                self._ids.reserve(stream_id)
                channel.set_closed()

    def _close_when_both_reset(self, stream_id: int) -> None:
        """RFC 8831 section 6.7: the channel is closed, and its id free, once both directions are reset."""
        if stream_id in self._reset_by_peer and stream_id in self._reset_done:
            channel = self._channels[stream_id]
            self._forget(channel)
            channel.set_closed()

    def _fail(self, channel: DataChannel, why: str) -> None:
        logger.warning("%r: %s", channel, why)
        self._forget(channel)
        channel.set_closed(RTCError("data-channel-failure", f"data channel {channel.label!r}: {why}"))

    def _forget(self, channel: DataChannel) -> None:
        if channel in self._without_id:
            self._without_id.remove(channel)
        self._text -= len(channel.label) + len(channel.protocol)
        stream_id = channel.id
        if stream_id is not None and self._channels.get(stream_id) is channel:
            del self._channels[stream_id]
            self._ids.release(stream_id)
            self._unacknowledged.discard(stream_id)
            self._reset_by_peer.discard(stream_id)
            self._reset_done.discard(stream_id)
        if channel.ready_state is not DataChannelState.CONNECTING:
            self.data_channels_closed += 1

    def _association_closed(self, event: Closed) -> None:
        error = None
        if event.failed or (event.by_peer and event.cause_code is not None):
            # A peer that closes its connection aborts with "user-initiated"; W3C reports that as an error too.
            error = RTCError("sctp-failure", event.reason, sctp_cause_code=event.cause_code)
        self.failure = event.reason if error is not None else ""
        logger.info("SCTP %s: closed%s: %s", self._name, " by the peer" if event.by_peer else "", event.reason)
        self._close(error)

    def _close(self, error: RTCError | None) -> None:
        if self._state is SCTPTransportState.CLOSED:
            return
        self._set_state(SCTPTransportState.CLOSED)
        if error is not None:
            self.on_error.emit(error)
        for channel in self.channels:
            self._forget(channel)
            channel.set_closed(error)

    def _set_state(self, state: SCTPTransportState) -> None:
        logger.info("SCTP %s: %s -> %s", self._name, self._state.value, state.value)
        self._state = state
        self.on_state_change.emit(state)
