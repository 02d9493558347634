"""Runs a coroutine of the test's in a namespace: its thread moves there, and with it the sockets that it opens."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.support.real_loop import run_real
from webrtc_py.runtime.interfaces import forget_recent_interfaces

from .namespaces import Namespace

_CLONE_NEWNET = 0x40000000


def run_inside(namespace: Namespace, main: Callable[[], Coroutine[Any, Any, None]], *, timeout: float = 100.0) -> None:
    """``run_real`` in a thread of its own. Raises what it raises."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            descriptor = os.open(Path("/var/run/netns", namespace.name), os.O_RDONLY)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(descriptor, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns failed")
            finally:
                os.close(descriptor)
            forget_recent_interfaces()  # which were another namespace's
            run_real(main(), timeout=timeout)
        except BaseException as error:  # noqa: BLE001  raised where somebody waits for it
            errors.append(error)

    thread = threading.Thread(target=body, name=f"in {namespace.name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
