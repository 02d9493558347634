"""All questions, one table: ``make bench``."""

import benchmarks
from benchmarks import agent_path, agents, check_list, lossy_path, memory, round_trip, setup_time, throughput
from benchmarks.report import main

main(
    benchmarks.__doc__,
    throughput.rows,
    round_trip.rows,
    setup_time.rows,
    memory.rows,
    agents.rows,
    check_list.rows,
    agent_path.rows,
    lossy_path.rows,
)
