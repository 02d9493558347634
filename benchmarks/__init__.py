"""webrtc_py and aiortc side by side, on one machine, in one run: ``python -m benchmarks`` prints a table.

Each module is a question and also runs alone, e.g. ``python -m benchmarks.throughput``. The runs of the two stacks are
interleaved, so that a machine that changes its speed changes it for both; figures are medians, with the least and the
largest of the runs in brackets. Where ICE agents are measured alone, aiortc's is aioice's ``Connection``.
"""
