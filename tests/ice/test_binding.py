"""What STUN servers may answer to a question for our address."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtual_loop import run
from webrtc_py.ice import stun
from webrtc_py.ice.binding import BindingQueries, ServerError
from webrtc_py.runtime.network import Address
from webrtc_py.runtime.shared import Shared

SERVER = ("192.0.2.3", 3478)
ELSEWHERE = ("192.0.2.66", 3478)
METHODS, CLASSES = st.sampled_from(list(stun.Method)), st.sampled_from(list(stun.Class))


def response(mapped: Address) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, bytes(12), {"XOR-MAPPED-ADDRESS": mapped})
    return bytes(message)


def ask(answers: list[tuple[bytes, Address]]) -> tuple[Address | str, int]:
    """The address or the reason that a question ends in, and how often it goes out.

    The answers get its transaction id.
    """

    async def main() -> tuple[Address | str, int]:
        queries = BindingQueries(Shared.of_running_loop())
        sent: list[bytes] = []
        asking = asyncio.ensure_future(queries.ask(lambda request, to: sent.append(request), SERVER, 3.0))
        await asyncio.sleep(0.01)
        for data, source in answers:
            queries.receive(memoryview(data[:8] + sent[0][8:20] + data[20:]), source)
        [outcome] = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(outcome, ServerError):
            return outcome.reason, len(sent)
        assert isinstance(outcome, tuple)
        return outcome, len(sent)

    return run(main())


@given(st.lists(st.tuples(METHODS, CLASSES, st.binary(max_size=60), st.sampled_from([SERVER, ELSEWHERE])), max_size=5))
def test_any_answers_are_an_address_or_an_error_and_few_requests(
    answers: list[tuple[stun.Method, stun.Class, bytes, Address]],
) -> None:
    messages = [
        (
            (method | kind).to_bytes(2, "big")
            + (len(body) & ~3).to_bytes(2, "big")
            + b"\x21\x12\xa4\x42"
            + bytes(12)
            + body[: len(body) & ~3],
            source,
        )
        for method, kind, body, source in answers
    ]
    outcome, sent = ask(messages)
    assert sent <= 7
    if isinstance(outcome, str):
        assert len(outcome) < 200
        assert outcome.isprintable()
    else:
        assert any(source == SERVER for _, source in messages)


@pytest.mark.parametrize("mapped", [("0.0.0.0", 5), ("198.51.100.1", 0), ("224.0.0.251", 5353), ("255.255.255.255", 1)])
def test_an_address_that_is_nobodys_is_not_told_to_peers(mapped: Address) -> None:
    outcome, _ = ask([(response(mapped), SERVER)])
    assert isinstance(outcome, str)
    assert mapped[0] in outcome


def test_answers_from_elsewhere_are_none_however_many() -> None:
    lie = response(("203.0.113.1", 1))
    assert ask([(lie, ELSEWHERE)] * 1000)[0] == "the server does not answer"
    assert ask([(lie, ELSEWHERE)] * 1000 + [(response(("203.0.113.2", 2)), SERVER)])[0] == ("203.0.113.2", 2)


def test_a_refusal_in_the_moment_of_a_cancellation_is_nobodys_error() -> None:
    async def main() -> None:
        queries = BindingQueries(Shared.of_running_loop())
        sent: list[bytes] = []
        asking = asyncio.ensure_future(queries.ask(lambda request, to: sent.append(request), SERVER, 3.0))
        await asyncio.sleep(0)
        message = stun.Message(stun.Method.BINDING, stun.Class.ERROR, sent[0][8:20], {"ERROR-CODE": (400, "no")})
        queries.receive(memoryview(bytes(message)), SERVER)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        gc.collect()  # a future that nobody took the exception of tells the loop

    run(main())
