"""Hand-written rows in the fields of published benchmarks."""

import json
from pathlib import Path
from typing import Any

HELLASWAG: dict[str, Any] = {
    "ind": 4, "activity_label": "Resting", "ctx_a": "A woman sits on a chair.", "ctx_b": "she",
    "ctx": "A woman sits on a chair. she", "split": "val", "split_type": "zeroshot", "source_id": "activitynet~v_1",
    "endings": ["reads  a book.", "[title] flies.", "is a chair, \u00e9t\u00e9.", "sleeps"], "label": 3,
}  # fmt: skip
QUESTION: dict[str, Any] = {"query": "Is it to be?", "choices": ["yes", "no"], "gold": 0}
LAMBADA: dict[str, Any] = {"text": "to be , or not to be , that is the question"}
WIKITEXT: dict[str, Any] = {"page": " \n = Robert Boulter = \n \n He had 1 @,@ 000 roles ( from 2000 to 2002 ) . \n"}
WORDS = ["to", "be", "or", "not", "that", "is", "the", "question", "whether", "noble", "in", "the", "mind", "été"]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def benchmarks_in(folder: Path, n: int = 12) -> Path:
    """hellaswag.jsonl, lambada.jsonl and wikitext.jsonl with `n` different rows each."""
    said = [" ".join(WORDS[each % 5 : 6 + each % 7]) for each in range(n)]
    endings = [HELLASWAG["endings"][: 2 + each % 3] for each in range(n)]
    swag = [{**HELLASWAG, "ctx_a": f"{said[each]}.", "endings": endings[each], "label": each % 2} for each in range(n)]
    write_rows(folder / "hellaswag.jsonl", swag)
    write_rows(folder / "lambada.jsonl", [{"text": f"{each} {each}"} for each in said] + [{"text": "alone"}])
    write_rows(folder / "wikitext.jsonl", [{"page": f" = {each} = \n {each} @-@ {each} . \n" * 3} for each in said])
    return folder
