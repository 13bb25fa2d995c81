"""Trackers, MLflow, Weights & Biases and Prometheus: what they hear of a training, which never waits for them.

The trainer writes into an outbox on disk, `outbox.py`. A process beside it, `python -m gptcore.tracking`, sends what is
in there: `sending.py`, to `mlflow.py`, `wandb.py` or `prometheus.py`. What a tracker has not got stays in the outbox
and is sent later. Tracking changes no result and is no input of a stage: of this wing, the trainer imports the outbox
alone.
"""
