"""The corpus: locate -> fetch -> unpack -> records -> texts -> documents, one record in memory at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gptcore.addresses import without_secrets
from gptcore.config.params import Count, Section
from gptcore.corpus.documents import Document
from gptcore.corpus.formats.pairs import Pairs
from gptcore.corpus.formats.records import Text, begins_with_pair, read_texts
from gptcore.corpus.formats.template import Template
from gptcore.corpus.left_out import LeftOut
from gptcore.corpus.selection import Selection
from gptcore.corpus.sources import SourceFile, Whole, check_source, locate
from gptcore.corpus.store import Store

UNSAID = "text"  # the field of a record where `data.text` was not set: the presets have it


class DataConfig(Section):
    """The corpus: where it comes from, which texts are selected, and which digest they must have."""

    source: str | tuple[str, ...] = Field(
        min_length=1,
        description="package://name/version/pattern, http(s)://…, s3://bucket/…, hf://owner/name[/config]?split=…, or "
        "a file, folder or pattern of files; or a list of these, read in order",
    )
    sha256: str = Field(
        pattern="^([0-9a-f]{64})?$",
        description="digest of all texts in order; empty takes what comes first, and from then on nothing else",
    )
    exclude: tuple[Annotated[str, Field(pattern="^[^/]+$")], ...] = Field(
        description="names of files and folders that folders, prefixes and patterns leave out, with * for any "
        "characters; names that begin with a dot are always left out"
    )
    format: Literal["auto", "text", "jsonl", "parquet", "csv", "yaml"] = Field(
        description="auto is by each file's suffix, yaml only on request"
    )
    text: str = Field(
        min_length=1,
        description="the field of a record that is the text, nested ones with dots, or fields in a text: {a}\\n{b.0.c}",
    )
    pairs: bool = Field(
        description="records are prompts with responses, and only the responses are learned; text is not used then. "
        "Sources whose first record has no field `text` and is in a known form are read so without it"
    )
    prompt: str = Field(
        description="pairs: a field or template as text; empty where records have prompt and completion, instruction, "
        "input and output, or messages"
    )
    response: str = Field(description="pairs: the same for the response; given with a prompt")
    delimiter: str = Field(
        pattern=r"^(\\t|[^\"\r\n\\])?$",
        description="what separates the cells of CSV; empty: comma, semicolon or tab, whichever the first line has",
    )
    languages: tuple[str, ...] = Field(description="the languages taken; empty is all of them")
    language_field: str = Field(description="the field of a record that names its language; used with languages")
    min_bytes: Count = Field(description="shorter texts are dropped; 1 drops the empty ones, 0 refuses them")
    deduplicate: bool = Field(description="drop texts that came before, letter for letter")
    max_documents: Count = Field(description="take so many documents at most; 0 is all")
    max_bytes: Count = Field(description="take whole documents of so many bytes of text at most; 0 is all")
    mode: Literal["files", "stream"] = Field(
        description="files: train on token files of all of it; stream: the documents within the limits are kept for "
        "validation and the tokenizer, and training reads all others from the source as it goes; then sha256 is that "
        "of the list of files and their versions"
    )
    shuffle_tokens: int = Field(
        gt=0,
        le=1 << 28,
        description="stream: windows are shuffled among so many tokens at a time; each takes 12 bytes of memory",
    )

    @field_validator("source")
    @classmethod
    def _known_sources(cls, source: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for each in [source] if isinstance(source, str) else source:
            check_source(without_secrets(each))
        return source

    @field_validator("text", "prompt", "response")
    @classmethod
    def _a_template(cls, text: str) -> str:
        if text:  # prompt and response may be empty
            Template(text)
        return text

    @model_validator(mode="after")
    def _a_prompt_has_a_response(self) -> "DataConfig":
        if bool(self.prompt) != bool(self.response):
            given, missing = ("prompt", "response") if self.prompt else ("response", "prompt")
            raise ValueError(
                f"{given} without {missing}: set data.{missing} to a field or template, or leave both empty"
            )
        if self.prompt and not self.pairs:
            raise ValueError("prompt and response are used with data.pairs=true only")
        if self.pairs and self.mode == "stream":
            raise ValueError("pairs need mode files: records are packed by their lengths, which a stream does not know")
        return self

    @model_validator(mode="after")
    def _languages_have_a_field(self) -> "DataConfig":
        if self.languages and not self.language_field:
            raise ValueError("languages need data.language_field")
        return self

    @model_validator(mode="after")
    def _a_stream_is_bounded(self) -> "DataConfig":
        if self.mode == "stream" and not (self.max_documents or self.max_bytes):
            raise ValueError("mode stream needs max_bytes or max_documents: what is kept for validation and tokenizer")
        if self.mode == "stream" and self.deduplicate:
            raise ValueError("mode stream cannot deduplicate: it would have to remember every document")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source


class Corpus:
    """The documents of `data`; after iteration, also the files they came from and counts of dropped texts."""

    def __init__(self, data: DataConfig, root: Path, scratch: Path, ask_again: bool = False) -> None:
        """Relative paths are resolved against `root`; downloads are cached in `scratch`.

        `ask_again`: revalidate cached files with their servers before use.
        """
        self.data, self.root = data, root
        self.template: str | Pairs = Pairs(data.prompt, data.response) if data.pairs else data.text
        self.delimiter = data.delimiter.replace("\\t", "\t")
        self.store = Store(scratch, hold=not data.sha256, ask_again=ask_again)
        self.files: list[tuple[str, Whole]] = []
        self.left_out = LeftOut(data.exclude)
        self.texts = 0  # number of texts read so far from the last file
        self.end = (0, 0)  # position after the last document: file number, text number in that file
        self.selection = Selection(
            data.languages, data.min_bytes, data.deduplicate, data.max_documents, data.max_bytes, data.pairs
        )  # fmt: skip

    def documents(self) -> Iterator[Document]:
        """Raises UserError, Unavailable."""
        for each in self.selection.documents(self._texts()):
            self.end = len(self.files) - 1, self.texts
            yield each

    def files_of_source(self) -> Iterator[SourceFile]:
        """All files that `data.source` names, in order, without downloading them. Raises UserError, Unavailable."""
        form = None if self.data.format == "auto" else self.data.format
        for source in self.data.sources:
            yield from locate(source, form, self.root, self.store, self._fields(), self.left_out)

    def texts_of(self, file: SourceFile, path: Path) -> Iterator[Text]:
        """The texts of one file, stored at `path`. Raises UserError."""
        language = self._language_field()
        for text in read_texts(path, file.address, file.form, self.template, language, self.delimiter):
            yield text if text.turns else text._replace(title=file.title)

    def _texts(self) -> Iterator[Text]:
        for file in self.files_of_source():
            whole = file.fetch()
            if not self.files:
                self._recognize(file, whole.path)
            self.files.append((file.address, whole))
            for number, text in enumerate(self.texts_of(file, whole.path), start=1):
                self.texts = number
                yield text

    def _recognize(self, file: SourceFile, path: Path) -> None:
        """The first file decides for all of them whether records are prompts with responses, if `data` does not say."""
        says_nothing = self.template == UNSAID and self.data.mode == "files"
        if says_nothing and begins_with_pair(path, file.address, file.form, UNSAID, self.delimiter):
            self.template, self.selection.pairs = Pairs("", ""), True

    def _fields(self) -> list[str] | None:
        """The fields to read from hub rows; None for a stream, which reads the hub's files so that it can seek."""
        if self.data.mode == "stream":
            return None
        language, template = self._language_field(), self.template
        fields = (template if isinstance(template, Pairs) else Template(template)).fields
        return [*fields, language] if fields and language else fields

    def _language_field(self) -> str:
        return self.data.language_field if self.data.languages else ""
