"""A file of prompts to a file of completions, in parts: those that an earlier run has made are there already.

The same prompt gets the same text in whichever part it is, so an interrupted run and a whole one make the same file.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from gptcore.corpus.allowed import require_allowed_file
from gptcore.corpus.formats.json_records import json_records
from gptcore.corpus.formats.parquet_records import parquet_records
from gptcore.errors import UserError
from gptcore.files import atomic_path, sha256_file, write_text
from gptcore.generation.complete import MOST_SLOTS, Wish, complete, described
from gptcore.generation.engine import Engine
from gptcore.tokens.tokenizer import Tokenizer

RECORDS = {".jsonl": json_records, ".parquet": parquet_records}
TARGETS = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Batch:
    """`field` holds the prompt of a record; of a text file, each line is one. `rows` prompts are a part."""

    source: Path
    target: Path
    model_sha256: str
    wish: Wish
    field: str = "prompt"
    rows: int = 256

    def __post_init__(self) -> None:
        """Raises UserError."""
        if self.source.suffix not in (".txt", *RECORDS):
            raise UserError(f"{self.source} is none of .txt, {', '.join(RECORDS)}")
        if self.target.suffix not in TARGETS:
            raise UserError(f"{self.target} is none of {', '.join(TARGETS)}")
        for name, path in (
            ("source", self.source),
            ("target", self.target),
        ):  # a deployment's run has a worker's rights
            require_allowed_file(name, path.absolute(), Path.cwd())
        if not self.source.is_file():
            raise UserError(f"there is no file {self.source}")

    def parts(self) -> Iterator[tuple[Path, list[str]]]:
        """The file of each part, and its prompts. Raises UserError for a record without a prompt."""
        folder, prompts = self._folder(), self.prompts()
        number = 0
        while found := list(islice(prompts, self.rows)):
            yield folder / f"{number:06d}.jsonl", found
            number += 1

    def prompts(self) -> Iterator[str]:
        """Raises UserError."""
        with self.source.open("rb") as file:
            if self.source.suffix == ".txt":
                for number, line in enumerate(file, start=1):
                    try:
                        yield line.decode().removesuffix("\n").removesuffix("\r")
                    except UnicodeDecodeError:
                        raise UserError(f"{self.source}, line {number}, is not UTF-8") from None
                return
            records = RECORDS[self.source.suffix](file, str(self.source), [self.field])
            for number, record in enumerate(records, start=1):
                if not isinstance(prompt := record.get(self.field), str):
                    raise UserError(f"{self.source}, record {number}: {self.field} is no text")
                yield prompt

    def gather(self) -> int:
        """Write the target from the parts, which must all be there; returns the number of texts."""
        files = [path for path, _ in self.parts()]
        lines = chain.from_iterable(path.read_text("utf-8").splitlines() for path in files)
        with atomic_path(self.target) as temporary:
            if self.target.suffix == ".jsonl":
                with temporary.open("w", encoding="utf-8") as file:
                    return sum(file.write(f"{line}\n") > 0 for line in lines)
            import pyarrow
            from pyarrow import parquet

            rows = [json.loads(line) for line in lines]
            parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)
            return len(rows)

    def _folder(self) -> Path:
        """Of this very batch: another model, source or wish has other parts."""
        wish = {**asdict(self.wish), "sampling": self.wish.sampling.model_dump()}
        values: list[Any] = [sha256_file(self.source), self.model_sha256, wish, self.field, self.rows]
        name = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
        return self.target.with_name(f"{self.target.name}.parts") / name


def write_part(path: Path, prompts: list[str], engine: Engine, tokenizer: Tokenizer, wish: Wish) -> None:
    """Raises UserError for a prompt that the model cannot go on from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = complete(engine, tokenizer, prompts, wish)
    write_text(path, "".join(json.dumps(described(each), ensure_ascii=True) + "\n" for each in done))


def engine_of(model: Any, tokenizer: Tokenizer) -> Engine:
    """With as many slots for a small part as for a large one: the same prompt gets the same text."""
    return Engine(model, MOST_SLOTS, tokenizer.unsayable_ids)
