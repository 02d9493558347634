"""Two peers in one process: offer, answer, candidates, a message there and a message back.

    python examples/data_channels.py

Between two machines the three lines that hand over descriptions and candidates go through your signalling: a
WebSocket, HTTP, a chat. ``to_json()`` of each gives what to send, and what a browser takes.
"""

import asyncio

from webrtc_py import DataChannel, PeerConnection


async def main() -> None:
    async with PeerConnection() as alice, PeerConnection() as bob:
        # Signalling: here each candidate is handed to the other side by a plain call.
        alice.on_ice_candidate(bob.add_ice_candidate)
        bob.on_ice_candidate(alice.add_ice_candidate)

        @bob.on_data_channel
        def on_data_channel(channel: DataChannel) -> None:
            channel.on_message(lambda message: channel.send(f"you said {message!r}"))

        channel = alice.create_data_channel("chat")
        await alice.set_local_description()  # makes the offer, and starts to look for candidates
        await bob.set_remote_description(alice.local_description)
        await bob.set_local_description()  # makes the answer
        await alice.set_remote_description(bob.local_description)

        await channel.opened()
        channel.send("hello")
        print(await channel.recv())


asyncio.run(main())
