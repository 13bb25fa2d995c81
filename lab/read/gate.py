"""What the gate says of a version now: beside the champion of this moment."""

from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.errors import Unavailable, UserError
from gptcore.evaluation.gate import GateConfig
from gptcore.registry.judge import Ruling, ruled
from lab.read import versions
from tasks.gate import TEXT, KeptGate, read_gate, tasks_of

if TYPE_CHECKING:
    from gptcore.registry.tracking import Registry, Version


def now(checkout: Path, number: int, own: GateConfig | None = None) -> tuple[Ruling, int | None]:
    """The ruling, and the version that is champion. Raises UserError if no text has been measured with both.

    The gate is the version's `own`, by which it was judged, as a fine-tune has another; else that of params.yaml.
    """
    with versions.registry(checkout) as found:
        if not found:
            raise UserError("there is no registry yet")
        known = {each.number: each for each, _ in found.versions()}
        champion = known.get(found.aliases().get("champion", 0))
        params = checkout / "params.yaml"
        ruling = _ruled(found, own or read_gate(params), tasks_of(params), known[number], champion)
        return ruling, champion.number if champion else None


def _ruled(
    registry: "Registry", gate: GateConfig, tasks: dict[str, str], version: "Version", champion: "Version | None"
) -> Ruling:
    for text in dict.fromkeys(each.tags.get(TEXT, "") for each in (version, champion) if each):
        try:
            return ruled(KeptGate(registry, gate, text, tasks), version, champion)
        except Unavailable:
            raise
        except UserError as error:
            said = str(error)
    if champion is None or not version.tags.get(TEXT):
        raise UserError(said)
    raise UserError(
        f"gpt versions {version.number} and {champion.number} were never measured on one text; "
        f"`gptcore registry measure {champion.number}` in a checkout with the text of version {version.number} does so"
    )
