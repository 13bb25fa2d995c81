"""One module per DVC stage, run as `python -m gptcore.stages.<stage>`."""
