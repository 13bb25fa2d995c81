"""A gate for tests of the registry: the lower figure wins, as no interval and no file says otherwise."""

from gptcore.registry.judge import Ruling
from gptcore.registry.tracking import Version


def lower(version: Version, champion: Version | None) -> Ruling:
    ours = float(version.tags["bits_per_byte"])
    other = champion.tags["bits_per_byte"] if champion else version.tags["baseline_bits_per_byte"]
    return Ruling(ours < float(other), f"its {ours} bits per byte against {other}")
