"""How long a test waits at most, on a machine that is busy with others: a wait ends as soon as it came true."""

PATIENCE = 240.0  # seconds; pytest ends the test itself after 300
