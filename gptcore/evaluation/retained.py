"""What a model has forgotten: it and its start, both on the validation text that the start was trained beside."""

from dataclasses import asdict
from typing import Any

from gptcore.config.paths import NONE, Paths
from gptcore.evaluation.config import EvaluateConfig, Retained, TextMetrics, Validation
from gptcore.evaluation.intervals import units
from gptcore.evaluation.losses import score
from gptcore.evaluation.measured import Measured, measured
from gptcore.evaluation.pair import bounds_of, difference_of, tally_of
from gptcore.tokens.token_files import INDEX, read_index, verify_tokens


def compare_retained(paths: Paths, config: EvaluateConfig) -> tuple[Retained | None, Measured | None, dict[str, Any]]:
    """Measure data/model and data/start/model on data/start/retained: metrics, what is kept, and the intervals.

    The start is in the place of the baseline. None where there is no start, or nothing is known of its text. Raises
    UserError.
    """
    folder = paths.start / "retained"
    if (folder / NONE).exists():
        return None, None, {}
    meta, index = verify_tokens(folder), read_index(folder, "val")
    document_bytes = index[:, INDEX.index("bytes")]
    ours, *_ = tally_of("retained", paths.model / "export", folder, meta, config)
    theirs, *_ = tally_of("start", paths.start / "model", folder, meta, config)
    n_bytes, tokens = int(document_bytes.sum()), int(ours.windows.tokens.sum())
    model, start = (score(each.windows.losses, each.windows.tokens, n_bytes) for each in (ours, theirs))
    metrics = Retained(
        model=TextMetrics(**asdict(model)),
        start=TextMetrics(**asdict(start)),
        difference=difference_of(model, start, ours, theirs),
        validation=Validation(tokens=tokens, bytes=n_bytes, documents=len(index)),
    )
    bounds = bounds_of(units(ours, theirs, document_bytes), "start")
    return metrics, measured(meta.val.text_sha256, document_bytes, ours, theirs), {"retained": bounds}
