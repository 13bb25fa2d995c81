"""Processes: a stage's command on this machine or on another work pool, stopped when its flow run ends.

`group.py` runs a command and streams its output, `watchdog.py` stops it when the flow is killed, `child_run.py` runs a
stage on a pool with GPUs. Read `group.py` first.
"""
