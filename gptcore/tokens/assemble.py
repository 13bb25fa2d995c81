"""Join encoded pieces, in order, into the folder of token files. The folder is written atomically."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gptcore.corpus.split import SPLITS, Split
from gptcore.errors import UserError
from gptcore.files import atomic_path, sha256_file, write_json
from gptcore.tokens.encode import Encoded, token_dtype
from gptcore.tokens.token_files import FILE_TOKENS, SplitMeta, TokensMeta, mask_name
from gptcore.tokens.tokenizer import Tokenizer


def assemble(
    folder: Path,
    tokenizer: Tokenizer,
    encoded: Iterable[tuple[int, dict[Split, Encoded]]],
    test: bool = False,
    file_tokens: int = FILE_TOKENS,
) -> TokensMeta:
    """Write the token files of `encoded` (number of the piece's first document in the corpus, its splits).

    Memory holds one piece at a time. Raises UserError if train, val or, with `test`, test is empty.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        tokenizer.save(temporary / "tokenizer.json")
        dtype = token_dtype(tokenizer.n_vocab)
        writers = {split: _Writer(temporary, split, dtype, file_tokens) for split in SPLITS if split != "test" or test}
        for first_document, splits in encoded:
            for split, writer in writers.items():
                writer.add(splits[split], first_document)
        splits_meta = {split: writer.close() for split, writer in writers.items()}
        for split, of_split in splits_meta.items():
            if not of_split.tokens:
                raise UserError(f"the corpus is so short that {split} has no text; take more text or other fractions")
        meta = TokensMeta(
            format_version=2,
            dtype="uint16" if dtype.itemsize == 2 else "uint32",
            vocab_size=tokenizer.n_vocab,
            tokenizer_sha256=sha256_file(temporary / "tokenizer.json"),
            eot_id=tokenizer.eot_id,
            train=splits_meta["train"],
            val=splits_meta["val"],
            test=splits_meta.get("test"),
        )
        write_json(temporary / "meta.json", meta.model_dump(mode="json", exclude_unset=True))
    return meta


class _Writer:
    """Appends encoded pieces to the files of one split."""

    def __init__(self, folder: Path, split: Split, dtype: np.dtype[np.unsignedinteger], file_tokens: int) -> None:
        self.folder, self.split, self.dtype, self.file_tokens = folder, split, dtype, file_tokens
        self.tokens = self.documents = self.bytes = 0
        self.files: dict[str, Any] = {}
        self.file: IO[bytes] | None = None
        self.mask: IO[bytes] | None = None
        self.text_sha256 = hashlib.sha256()
        self.index = _Index(folder / f"{split}.index.npy")

    def add(self, encoded: Encoded, first_document: int) -> None:
        self.index.add(encoded.index + np.array([self.tokens, 0, first_document]))
        self.text_sha256.update(encoded.digests.tobytes())
        self.documents += len(encoded.index)
        self.bytes += int(encoded.index[:, 1].sum())
        if len(encoded.mask):
            self.mask = self.mask or (self.folder / mask_name(self.split)).open("wb")
            self.mask.write(encoded.mask.tobytes())
        ids = encoded.ids
        while len(ids):
            here = ids[: self.file_tokens - self.tokens % self.file_tokens]
            self._write(here)
            ids = ids[len(here) :]

    def close(self) -> SplitMeta:
        for each in (self.file, self.mask):
            if each:
                each.close()
        names = list(self.files)
        if len(names) == 1:
            names = [f"{self.split}.bin"]
            (self.folder / next(iter(self.files))).rename(self.folder / names[0])
        return SplitMeta(
            tokens=self.tokens,
            documents=self.documents,
            bytes=self.bytes,
            files=dict(zip(names, (digest.hexdigest() for digest in self.files.values()), strict=True)),
            index_sha256=self.index.close(),
            text_sha256=self.text_sha256.hexdigest(),
            **({"mask_sha256": sha256_file(self.folder / mask_name(self.split))} if self.mask else {}),
        )

    def _write(self, ids: npt.NDArray[np.unsignedinteger]) -> None:
        number, position = divmod(self.tokens, self.file_tokens)
        name = f"{self.split}-{number:05d}.bin"
        if position == 0:
            if self.file:
                self.file.close()
            self.file, self.files[name] = (self.folder / name).open("wb"), hashlib.sha256()
        assert self.file
        raw = ids.astype(self.dtype, copy=False).tobytes()
        self.file.write(raw)
        self.files[name].update(raw)
        self.tokens += len(ids)


class _Index:
    """An .npy file that can be appended to: numpy reserves space in the header for a larger row count."""

    def __init__(self, path: Path) -> None:
        self.path, self.file, self.rows = path, path.open("w+b"), 0
        self._header()

    def add(self, rows: npt.NDArray[np.int64]) -> None:
        self.file.write(rows.astype("<i8").tobytes())
        self.rows += len(rows)

    def close(self) -> str:
        """Finish the file and return its sha256."""
        self._header()
        self.file.close()
        return sha256_file(self.path)

    def _header(self) -> None:
        self.file.seek(0)
        header = {"descr": "<i8", "fortran_order": False, "shape": (self.rows, 3)}
        np.lib.format.write_array_header_1_0(self.file, header)
