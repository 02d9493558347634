"""What ``get_stats()`` tells of a connection."""

from __future__ import annotations

import pytest

from tests.connection.peers import exchange, talk, with_peers
from tests.connection.session import description
from tests.support.connections import Peer
from webrtc_py import DataChannelStats, ICECandidatePairStats, ICECandidateStats, SessionDescription, TransportStats
from webrtc_py.ice.mdns import AgentNames


@pytest.mark.row("MDN-04", "WST-06")
def test_statistics_show_the_name_that_hides_an_address() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x")
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        name = "9b36eaac-bb2e-49bb-bb78-21c41c499900.local"
        names = AgentNames(other.host, name)
        await names.name_of("192.0.2.102")
        await other.pc.set_remote_description(description(one.pc.local_description))
        await other.pc.set_local_description()
        await other.pc.gathering_complete()
        answer = description(other.pc.local_description).sdp
        await one.pc.set_remote_description(
            SessionDescription(
                "answer", answer.replace(" 192.0.2.102 ", f" {name} ").replace("IP4 192.0.2.102", "IP4 0.0.0.0")
            )
        )
        await talk(near, await other.channels.get())
        report = await one.pc.get_stats()
        told = {entry.address for entry in report.of(ICECandidateStats) if entry.type == "remote-candidate"}
        assert told <= {name, None}
        assert "192.0.2.102" not in repr(report)
        await names.close()

    with_peers(body)


@pytest.mark.row("WST-02", "WST-04", "WST-01")
def test_statistics_of_a_connection() -> None:
    async def body(one: Peer, other: Peer) -> None:
        near = one.pc.create_data_channel("x", protocol="p")
        await exchange(one.pc, other.pc)
        far = await other.channels.get()
        await talk(near, far)
        report, again, theirs = await one.pc.get_stats(), await one.pc.get_stats(), await other.pc.get_stats()
        assert list(report) == list(again)
        assert all(entry.id == name for name, entry in report.items())
        assert len({entry.timestamp for entry in report.values()}) == 1
        (channel,) = report.of(DataChannelStats)
        assert (channel.label, channel.protocol, channel.state) == ("x", "p", "open")
        assert (channel.messages_sent, channel.bytes_sent, channel.messages_received, channel.bytes_received) == (
            1,
            5,
            1,
            8,
        )
        (transport,) = report.of(TransportStats)
        pair = report[transport.selected_candidate_pair_id or ""]
        assert isinstance(pair, ICECandidatePairStats)
        assert pair.nominated
        assert pair.current_round_trip_time == pytest.approx(0.02, abs=0.005)
        for name in (
            pair.local_candidate_id,
            pair.remote_candidate_id,
            transport.local_certificate_id,
            transport.remote_certificate_id,
        ):
            assert name in report
        (there,) = theirs.of(TransportStats)
        assert transport.dtls_cipher == there.dtls_cipher == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        assert {str(transport.dtls_role), str(there.dtls_role)} == {"client", "server"}
        assert {str(transport.ice_role), str(there.ice_role)} == {"controlling", "controlled"}
        assert report["remote-certificate"].fingerprint == theirs["local-certificate"].fingerprint  # type: ignore[attr-defined]
        # What one sent, the other received, but for what is on its way.
        assert 0 <= transport.packets_sent - there.packets_received <= 1

    with_peers(body)
