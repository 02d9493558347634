"""An ICE restart from either side while a chat goes on: open the page, and press the buttons.

    python examples/ice_restart.py

Python counts aloud, twenty numbers a second; the page shows the last one, and how many are missing: none, whoever
restarts, and however often. The new path is found beside the old one, which carries the data until then.

``pc.restart_ice()`` only asks for an offer with new credentials; ``on_negotiation_needed`` makes it, as any other. Both
sides may do so at the same moment: Python is the polite one, whose own offer gives way to the page's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import webbrowser
from contextlib import suppress
from itertools import count
from typing import Any

from webrtc_py import DataChannel, ICECandidate, ICECandidatePair, PeerConnection

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>ICE restart</title>
<link rel="icon" href="data:,">
<style>body { font: 16px/1.6 system-ui; margin: 3rem auto; width: 34rem } output { font-weight: bold }</style>
<h1>ICE restart</h1>
<p>State <output id="state">-</output>, credentials <output id="ufrag">-</output></p>
<p>Number <output id="number">-</output>, missing <output id="missing">0</output></p>
<button id="here">Restart from this page</button> <button id="there">Let Python restart</button>
<form><input id="text" placeholder="Write something" autocomplete="off"> <button>Send</button></form>
<ol id="log"></ol>
<script>
  const $ = id => document.getElementById(id);
  const signal = message => fetch("/signal", { method: "POST", body: JSON.stringify(message) });
  const pc = new RTCPeerConnection();
  const channel = pc.createDataChannel("chat");
  const events = new EventSource("/events");
  let next = 0, missing = 0;

  pc.onicecandidate = ({ candidate }) => signal({ candidate });
  pc.onconnectionstatechange = () => $("state").value = pc.connectionState;
  async function offer() {
    await pc.setLocalDescription();
    await signal({ description: pc.localDescription });
    $("ufrag").value = pc.localDescription.sdp.match(/a=ice-ufrag:(.*)/)[1];
  }
  events.onopen = () => { offer(); pc.onnegotiationneeded = offer; };
  events.onmessage = async ({ data }) => {
    const { description, candidate } = JSON.parse(data);
    if (candidate) return pc.addIceCandidate(candidate).catch(() => {});  // of an offer that gave way
    if (!description || description.type === "offer" && pc.signalingState !== "stable") return;
    await pc.setRemoteDescription(description);
    if (description.type === "offer") await offer();
  };
  channel.onmessage = ({ data }) => {
    const { number, text } = JSON.parse(data);
    if (text) $("log").append(Object.assign(document.createElement("li"), { textContent: text }));
    if (number === undefined) return;
    missing += number - next;
    next = number + 1;
    $("number").value = number;
    $("missing").value = missing;
  };
  $("here").onclick = () => pc.restartIce();
  $("there").onclick = () => channel.send(JSON.stringify({ restart: true }));
  document.forms[0].onsubmit = event => {
    event.preventDefault();
    channel.send(JSON.stringify({ text: $("text").value }));
    $("text").value = "";
  };
</script>
</html>
"""


class Visitor:
    """The page's connection, and what waits to be told to the page."""

    def __init__(self) -> None:
        self.pc = PeerConnection()
        self.to_page: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.pc.on_ice_candidate(self.on_ice_candidate)
        self.pc.on_negotiation_needed(self.describe)
        self.pc.on_connection_state_change(lambda state: print(f"connection {state}", flush=True))
        self.pc.on_data_channel(self.on_data_channel)

    def on_ice_candidate(self, candidate: ICECandidate | None) -> None:
        if candidate is not None:
            self.to_page.put_nowait({"candidate": candidate.to_json()})

    async def describe(self) -> None:
        """Send an offer or an answer, whichever is due."""
        await self.pc.set_local_description()
        self.to_page.put_nowait({"description": self.pc.local_description.to_json()})

    async def take(self, message: dict[str, Any]) -> None:
        """What the page's signalling brings. An offer of the page's takes back one of ours that waits."""
        if "description" in message:
            await self.pc.set_remote_description(message["description"])
            if message["description"]["type"] == "offer":
                await self.describe()
        else:
            await self.pc.add_ice_candidate(message["candidate"])

    def on_data_channel(self, channel: DataChannel) -> None:
        def on_message(message: bytes | str) -> None:
            asked = json.loads(message)
            if "restart" in asked:
                self.pc.restart_ice()
            else:
                channel.send(json.dumps({"text": f"You said: {asked['text']}"}))

        def on_path(pair: ICECandidatePair) -> None:
            print(f"path {pair}, credentials {transport.get_selected_candidate_pair_stats().generation}", flush=True)

        transport = self.pc.sctp.transport.ice_transport
        on_path(transport.get_selected_candidate_pair())
        transport.on_selected_candidate_pair_change(on_path)
        channel.on_message(on_message)
        # Not in the handler itself: the connection's other events wait until it returns.
        self.counting = asyncio.create_task(count_aloud(channel))


async def count_aloud(channel: DataChannel) -> None:
    for number in count():
        if channel.ready_state != "open":
            break
        channel.send(json.dumps({"number": number}))
        await asyncio.sleep(0.05)


class Server:
    """As much of HTTP as the page needs, for one page at a time: see browser.py for several."""

    visitor: Visitor

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if head.startswith("get /events "):
                await self.send_events(writer)
            elif head.startswith("post /signal "):
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                await self.visitor.take(json.loads(await reader.readexactly(length)))
                self.respond(writer, "text/plain", b"")
            else:
                self.respond(writer, "text/html; charset=utf-8", PAGE.encode())
            await writer.drain()
        writer.close()

    async def send_events(self, writer: asyncio.StreamWriter) -> None:
        """The visitor stays for as long as this request does."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n")
        self.visitor = visitor = Visitor()
        async with visitor.pc:
            while True:
                message = b": still here\n\n"
                with suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        message = b"data: " + json.dumps(await visitor.to_page.get()).encode() + b"\n\n"
                writer.write(message)
                await writer.drain()

    def respond(self, writer: asyncio.StreamWriter, content_type: str, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free")
    parser.add_argument("--no-open", action="store_true", help="do not open the browser")
    options = parser.parse_args()
    listening = await asyncio.start_server(Server().on_connection, "127.0.0.1", options.port)
    address = f"http://localhost:{listening.sockets[0].getsockname()[1]}/"
    print(f"Open {address} in a browser. Ctrl-C ends.", flush=True)
    if not options.no_open:
        webbrowser.open(address)
    await asyncio.Event().wait()  # until Ctrl-C


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
