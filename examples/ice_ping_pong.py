"""ICE and nothing else: two processes find a path between them and play ping-pong on it.

    python examples/ice_ping_pong.py

All that they share is a pipe, over which each sends one message: its credentials and its candidates. Between machines
that message goes through whatever you have. A STUN server in ``urls`` makes it work through NATs.
"""

import asyncio
import multiprocessing
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from webrtc_py.ice import Agent, AgentOptions, Conn, unmarshal_candidate

PINGS = 5
PATIENCE = 20.0


async def connect(pipe: Connection, agent: Agent, is_caller: bool) -> Conn:
    """Gather, exchange, and check: a path, or ConnectionFailedError."""
    await agent.gather_candidates()
    await agent.gathering_complete()
    pipe.send((agent.get_local_user_credentials(), [one.marshal() for one in agent.get_local_candidates()]))
    (ufrag, pwd), candidates = await asyncio.to_thread(pipe.recv)
    for line in candidates:
        agent.add_remote_candidate(unmarshal_candidate(line))
    agent.add_remote_candidate(None)  # these were all
    return await (agent.dial(ufrag, pwd) if is_caller else agent.accept(ufrag, pwd))


async def ping(conn: Conn, number: int) -> float:
    """The round trip in seconds. Datagrams may be lost, those above all that come before the peer has a path too."""
    while True:
        begin = time.perf_counter()
        conn.send(b"ping %d" % number)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while await conn.recv() != b"pong %d" % number:
                    pass
                return time.perf_counter() - begin


async def answer(conn: Conn) -> None:
    """Until the last ping."""
    message = b""
    while message != b"ping %d" % (PINGS - 1):
        message = await conn.recv()
        conn.send(message.replace(b"ping", b"pong"))


async def play(pipe: Connection, is_caller: bool) -> None:
    # Loopback is for peers on one machine, and not used unless it is asked for.
    async with Agent(AgentOptions(include_loopback=True)) as agent, asyncio.timeout(PATIENCE):
        conn = await connect(pipe, agent, is_caller)
        if not is_caller:
            await answer(conn)
            return
        local, remote = agent.get_selected_candidate_pair()
        print(f"path {local} <-> {remote}")
        for number in range(PINGS):
            print(f"pong {number}: {await ping(conn, number) * 1000:.2f} ms")
        statistics = agent.get_selected_candidate_pair_stats()
        print(f"round trip by ICE's own checks {statistics.current_round_trip_time * 1000:.2f} ms", flush=True)


def process(pipe: Connection, is_caller: bool) -> None:
    asyncio.run(play(pipe, is_caller))


def main() -> int:
    spawn = multiprocessing.get_context("spawn")
    ends = spawn.Pipe()
    processes = [
        spawn.Process(target=process, args=(ends[0], True)),
        spawn.Process(target=process, args=(ends[1], False)),
    ]
    for one in processes:
        one.start()
    for end in ends:
        end.close()
    for one in processes:
        one.join()
    return 1 if any(one.exitcode for one in processes) else 0


if __name__ == "__main__":
    sys.exit(main())
