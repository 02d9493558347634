"""Your own logs: one logger for each call, and lines that a machine can read.

    python examples/custom_logger.py

Everything logs with Python's ``logging``, below ``webrtc_py``. A connection that is given a logger tells its story
there: at INFO each change of state and why, at DEBUG each candidate and each check too. Passwords are never in it.
When a call fails, ``pc.explain()`` says in words where it stands.
"""

import asyncio
import json
import logging
import sys

from webrtc_py import API, PeerConnection, SettingEngine


class JSONFormatter(logging.Formatter):
    """One object in a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {"call": record.name.removeprefix("calls."), "level": record.levelname, "text": record.getMessage()}
        return json.dumps({"at": round(record.created, 3), **fields}, ensure_ascii=False)


def new_peer_connection(call: str) -> PeerConnection:
    """A connection whose story goes to the logger ``calls.<call>``."""
    settings = SettingEngine()
    settings.set_include_loopback_candidate(True)  # for machines without a network
    settings.set_logger(logging.getLogger(f"calls.{call}"))
    return API(settings).new_peer_connection()


async def main() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JSONFormatter())
    calls = logging.getLogger("calls")
    calls.addHandler(handler)
    calls.setLevel(logging.INFO)
    logging.getLogger("calls.bob").setLevel(logging.DEBUG)  # one call in more detail

    async with new_peer_connection("alice") as alice, new_peer_connection("bob") as bob:
        alice.on_ice_candidate(bob.add_ice_candidate)
        bob.on_ice_candidate(alice.add_ice_candidate)
        channel = alice.create_data_channel("chat")
        await alice.set_local_description()
        await bob.set_remote_description(alice.local_description)
        await bob.set_local_description()
        await alice.set_remote_description(bob.local_description)
        await alice.wait_connected(timeout=20)
        await channel.opened()
        print(alice.explain())


asyncio.run(main())
