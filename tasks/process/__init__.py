"""Processes: a stage's command on this machine or on another work pool, ended together with its flow run.

`group.py` runs a command and hands on its output, `watchdog.py` ends it when the flow is killed, `child_run.py` runs a
stage on a pool with GPUs. Read `group.py` first.
"""
