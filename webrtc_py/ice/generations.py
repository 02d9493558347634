"""An agent's generations side by side: which of them carries the data, and what state that makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ..runtime.shared import Shared
from ..states import ICERole, ICETransportState
from .generation import Generation
from .udp_port import UDPPort

# How long the old path is kept beside the new one: the data that the peer still sends on it arrives.
_LINGER = 5.0
# The one in use, one that the peer may still use, and the newest; beside them one that waits for the peer.
_MOST = 3
# How long a controlling peer may take over nominating what works in the new generation. To libwebrtc an old path that
# works and is better, because it is one that a changed policy forbids, is as good as a new one.
_NOMINATION_PATIENCE = 5.0
# How long we, who control, wait for the peer's first check on a new path that is worse: for our answer to arrive.
_CHECK_PATIENCE = 1.0
# What is late by more restarts than that is lost anyway.
_MAX_RETIRED = 16
_CONNECTED = (ICETransportState.CONNECTED, ICETransportState.COMPLETED)


class Generations:
    """Oldest first. Those before the one in use linger, as do those that another restart has superseded.

    ``in_use`` is the one whose path carries the data: the newest that has had one, else the oldest.
    """

    def __init__(self, first: Generation, shared: Shared) -> None:
        self._shared = shared
        self._all = [first]
        self.in_use = first
        # Nearly always empty, which as a tuple costs nothing.
        self._retired: tuple[str, ...] = ()
        self._lingering: asyncio.TimerHandle | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._cleaning: list[asyncio.Task[None]] = []

    def __iter__(self) -> Iterator[Generation]:
        """The newest first."""
        return reversed(self._all)

    @property
    def newest(self) -> Generation:
        return self._all[-1]

    @property
    def are_several(self) -> bool:
        return len(self._all) > 1

    @property
    def is_restarting(self) -> bool:
        """Whether a restart has been begun whose generation has not selected a pair yet."""
        return self.newest is not self.in_use

    @property
    def awaits_peer(self) -> bool:
        """Whether the newest is a restart that has not been started."""
        return self.are_several and self.newest.core.state is ICETransportState.NEW

    @property
    def role(self) -> ICERole:
        """That of the newest generation that has been started: a restart keeps it."""
        return next((one for one in self if one.core.state is not ICETransportState.NEW), self.newest).core.role

    @property
    def state(self) -> ICETransportState:
        """``connected`` while the old path lives, whatever the restart comes to; ``failed`` when nothing is left."""
        if not self.is_restarting:
            return self.newest.state
        if self.in_use.state in _CONNECTED:
            return ICETransportState.CONNECTED
        started = [one.state for one in self if one.state is not ICETransportState.NEW]
        return next((state for state in started if state is not ICETransportState.FAILED), ICETransportState.FAILED)

    def of_peer(self, remote_ufrag: str | None) -> Generation | None:
        """The one that a candidate of the peer's belongs to; None for one that we have not heard of."""
        if remote_ufrag is None:
            return self.newest
        for generation in self._all:
            if generation.core.remote_ufrag == remote_ufrag:
                return generation
        is_first = not self.are_several and self.newest.core.remote_ufrag is None
        return self.newest if is_first else None

    def has_retired(self, remote_ufrag: str | None) -> bool:
        """Whether the peer's generation of this name is one that we have given up."""
        return remote_ufrag in self._retired

    def find_port(self, host: str) -> UDPPort | None:
        """The port on a local address, of whichever generation."""
        return next((port for one in self if (port := one.port_on(host)) is not None), None)

    def begin(self, generation: Generation) -> None:
        """Begin a restart; it takes the place of one that was never started."""
        replaced = self.newest
        self._stop_waiting()
        self._all.append(generation)
        if replaced.core.state is ICETransportState.NEW:
            if replaced is self.in_use:
                self.in_use = generation
            self._retire(replaced)

    def cancel(self) -> None:
        """Give up the newest."""
        self._retire(self.newest)

    def started(self) -> None:
        """The newest was started: from now on both ends look with its credentials, and not with others'.

        What a restart before it has found in the last moment may be in the peer's use already.
        """
        if len(self._all) > _MOST:
            # One that has found nothing is nobody's path, or else the oldest.
            others = [one for one in self._all if one not in (self.in_use, self.newest)]
            self._retire(min(others, key=lambda one: one.core.path is not None))
        if self.are_several:
            self._be_patient()
            self._linger()
            self.path_changed()

    def path_changed(self) -> None:
        """A path that works leaves those who look for another the time that the peer takes to know of it.

        Not with a peer that makes no checks, as a lite one: it would be waited for in vain.
        """
        waits = self.in_use.state in _CONNECTED and self.in_use.core.peer_has_checked
        for generation in self._all[self._all.index(self.in_use) + 1 :]:
            generation.wait_for_peer(waits)

    def _be_patient(self) -> None:
        self._stop_waiting()
        patience = _CHECK_PATIENCE if self.newest.core.controlling else _NOMINATION_PATIENCE
        self._waiting = self._shared.loop.call_later(patience, self._hurry)

    def _hurry(self) -> None:
        """What works in the new generation is to be used, though the old path works, and the peer lets us wait."""
        if not self.is_restarting:
            return
        core = self.newest.core
        if core.path is None or not (core.peer_has_checked or self._is_worse):
            # Who has made no check may not have heard that we have answered, and takes no data there.
            self._be_patient()
        elif core.controlling:
            self.newest.wait_for_peer(False)
        else:
            # A peer that is to nominate a new path, and does not while the old one works, is taken that.
            self.in_use.fall_silent()

    @property
    def _is_worse(self) -> bool:
        """Whether what works in the new generation is worse than the old path, as when a policy changed to relays.

        libwebrtc gives a worse path up, and makes no check there, for as long as the old one works.
        """
        old, new = self.in_use.core.selected, self.newest.core.path
        return old is not None and new is not None and new.priority < old.priority

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def take_over(self, generation: Generation) -> Generation | None:
        """A generation has selected a pair: the one whose place it takes, or None when it takes none's."""
        replaced, index = self.in_use, self._all.index(generation)
        if index <= self._all.index(replaced):
            return None
        self.in_use = generation
        for older in self._all[:index]:
            older.fall_silent()
        self._linger()
        return replaced

    def _linger(self) -> None:
        self._stop_lingering()
        self._lingering = self._shared.loop.call_later(_LINGER, self._end_lingering)

    def _end_lingering(self) -> None:
        """Give up all but the one in use and the newest."""
        self._stop_lingering()
        for generation in [one for one in self._all if one not in (self.in_use, self.newest)]:
            self._retire(generation)

    def _stop_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _retire(self, generation: Generation) -> None:
        self._all.remove(generation)
        if generation.core.remote_ufrag is not None:
            self._retired = (*self._retired, generation.core.remote_ufrag)[-_MAX_RETIRED:]
        generation.stop()
        task = self._shared.loop.create_task(generation.clean_up(), name="ICE: retire a generation")
        self._cleaning.append(task)
        task.add_done_callback(self._cleaning.remove)

    def stop(self) -> None:
        """Stop all; :meth:`clean_up` gives back what takes longer."""
        self._stop_waiting()
        self._stop_lingering()
        self.in_use = self.newest
        for generation in self._all[:-1]:
            self._retire(generation)
        self.newest.stop()

    async def clean_up(self) -> None:
        await asyncio.gather(self.newest.clean_up(), *self._cleaning)
