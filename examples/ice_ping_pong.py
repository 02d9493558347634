"""ICE and nothing else: two processes find a path between them and play ping-pong on it.

    python examples/ice_ping_pong.py

All that they share is a pipe, over which each sends one message: its credentials and its candidates. Between machines
that message goes through whatever you have. A STUN server in ``urls`` makes it work through NATs.
"""

import asyncio
import multiprocessing
import sys
import time
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


async def play(pipe: Connection, is_caller: bool) -> None:
    # Loopback is for peers on one machine, and not used unless it is asked for.
    async with Agent(AgentOptions(include_loopback=True)) as agent, asyncio.timeout(PATIENCE):
        conn = await connect(pipe, agent, is_caller)
        if is_caller:
            local, remote = agent.get_selected_candidate_pair()
            print(f"path {local} <-> {remote}", flush=True)
        for number in range(PINGS):
            begin = time.perf_counter()
            if is_caller:
                conn.send(f"ping {number}".encode())
            message = (await conn.recv()).decode()
            if is_caller:
                print(f"{message}: {(time.perf_counter() - begin) * 1000:.2f} ms", flush=True)
            else:
                conn.send(message.replace("ping", "pong").encode())
        if is_caller:
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
