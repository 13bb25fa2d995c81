"""A flow's end does not wait for its heartbeat.

Prefect sends heartbeats from a thread that looks once a second whether the flow has ended. A flow that is no coroutine
waits for that, half a second on average and a second at most; ours end at once, as Prefect's coroutine flows do.
"""

from functools import partial

from prefect import flow_engine

flow_engine._send_heartbeats = partial(flow_engine._send_heartbeats, join_on_exit=False)
