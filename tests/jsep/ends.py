"""Two ends of a negotiation without transports, and descriptions as other stacks write them."""

from __future__ import annotations

from webrtc_py.dtls.fingerprint import Fingerprint
from webrtc_py.ice.candidate import UnsupportedCandidateError, unmarshal_candidate
from webrtc_py.jsep import Author, BeginRestart, LocalTransport, Negotiation, Plan, TrickledCandidate
from webrtc_py.sdp import Session, parse
from webrtc_py.states import BundlePolicy, DTLSRole, SDPType, SignalingState

FINGERPRINT = Fingerprint("sha-256", ":".join(f"{number:02X}" for number in range(32)))
OTHER_FINGERPRINT = Fingerprint("sha-256", ":".join(f"{number:02X}" for number in range(32, 64)))
HOST = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
HOST_2 = "candidate:2 1 udp 2130706175 192.0.2.2 5002 typ host"


def check_candidate(line: str) -> None:
    try:
        unmarshal_candidate(line)
    except UnsupportedCandidateError:
        return


class End:
    """A negotiation with a local transport. ``data`` says whether a data channel is wanted."""

    def __init__(
        self,
        name: str = "alic",
        *,
        data: bool = True,
        policy: BundlePolicy = BundlePolicy.BALANCED,
        role: DTLSRole | None = None,
        lite: bool = False,
        renomination: bool = False,
    ) -> None:
        self.data = data
        self._name = name
        self._generation = 0
        self.transport = self.next_transport()
        self.negotiation = Negotiation(
            Author(1234567890, 262144, renomination, lite),
            check_candidate,
            bundle_policy=policy,
            answering_dtls_role=role,
        )

    @property
    def signaling(self) -> SignalingState:
        return self.negotiation.state.signaling

    def next_transport(self) -> LocalTransport:
        """The transport with new credentials, and the credentials after those ready."""
        self._generation += 1
        now, then = (_credentials(self._name, number) for number in (self._generation, self._generation + 1))
        return LocalTransport(*now, (FINGERPRINT,), next_credentials=then)

    def follow(self, plan: Plan) -> Plan:
        """Let the transport restart as the plan wants it."""
        for step in plan:
            if isinstance(step, BeginRestart):
                assert (step.ice_ufrag, step.ice_pwd) == self.transport.next_credentials
                self.transport = self.next_transport()
        return plan

    def create_offer(self, *, ice_restart: bool = False) -> str:
        return self.negotiation.create_offer(self.transport, data=self.data, ice_restart=ice_restart)

    def create_answer(self) -> str:
        return self.negotiation.create_answer(self.transport)

    def offer(self) -> str:
        """Create an offer and set it."""
        text = self.create_offer()
        self.negotiation.set_local(SDPType.OFFER, text)
        return text

    def take_offer(self, text: str) -> Plan:
        return self.negotiation.set_remote(SDPType.OFFER, text)

    def answer(self, kind: SDPType = SDPType.ANSWER) -> tuple[str, Plan]:
        text = self.create_answer()
        return text, self.negotiation.set_local(kind, text)

    def take_answer(self, text: str, kind: SDPType = SDPType.ANSWER) -> Plan:
        return self.negotiation.set_remote(kind, text)

    def roll_back(self) -> Plan:
        return self.negotiation.set_local(SDPType.ROLLBACK, "")

    def candidate(self, line: str, mid: str | None = "0", index: int | None = None, ufrag: str | None = None) -> Plan:
        return self.negotiation.add_candidate(TrickledCandidate(line, mid, index, ufrag))


def _credentials(name: str, generation: int) -> tuple[str, str]:
    number = "" if generation == 1 else str(generation)
    return f"{name}ufrag{number}", f"{name}+password+of+many+characters{number}"


def connect(offerer: End, answerer: End) -> tuple[Plan, Plan]:
    """One whole exchange; the plans of the answers, offerer's first."""
    answerer.take_offer(offerer.offer())
    text, answerers = answerer.answer()
    return offerer.take_answer(text), answerers


def session(text: str) -> Session:
    return parse(text)


HEAD = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
TRANSPORT = (
    "a=ice-ufrag:peer\r\na=ice-pwd:peerpasswordpeerpassword\r\n"
    f"a=fingerprint:sha-256 {OTHER_FINGERPRINT.value}\r\na=setup:actpass\r\n"
)


def data_section(
    mid: str | None = "0",
    port: int = 9,
    transport: str = TRANSPORT,
    more: str = "a=sctp-port:5000\r\na=max-message-size:65536\r\n",
) -> str:
    return (
        f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
        + (f"a=mid:{mid}\r\n" if mid is not None else "")
        + transport
        + more
    )


def audio_section(mid: str | None = "a", port: int = 9, transport: str = TRANSPORT, mux: bool = True) -> str:
    return (
        f"m=audio {port} UDP/TLS/RTP/SAVPF 111 9\r\nc=IN IP4 0.0.0.0\r\n"
        + (f"a=mid:{mid}\r\n" if mid is not None else "")
        + transport
        + ("a=rtcp-mux\r\n" if mux else "")
        + "a=sendrecv\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=rtpmap:9 G722/8000\r\n"
        + "a=extmap:1 urn:nobody:knows:this\r\na=ssrc:1234 cname:somebody\r\n"
    )


def offer_of(*sections: str, group: str | None = None, options: str = "trickle") -> str:
    """An offer with these sections; ``group`` is the BUNDLE group's mids."""
    return (
        HEAD
        + (f"a=group:BUNDLE {group}\r\n" if group else "")
        + (f"a=ice-options:{options}\r\n" if options else "")
        + "".join(sections)
    )


def with_line_changed(text: str, start: str, new: str) -> str:
    """Every line that starts with ``start`` replaced by ``new``; without it when ``new`` is empty."""
    lines = [new if line.startswith(start) else line for line in text.split("\r\n")]
    return "\r\n".join(line for position, line in enumerate(lines) if line or position == len(lines) - 1)


def answer_to_data(mid: str = "0", **changes: str) -> str:
    """A browser's answer to our offer of one data section."""
    text = offer_of(data_section(mid), group=mid)
    text = with_line_changed(text, "a=setup", "a=setup:active")
    for start, line in changes.items():
        text = with_line_changed(text, f"a={start.replace('_', '-')}", line)
    return text
