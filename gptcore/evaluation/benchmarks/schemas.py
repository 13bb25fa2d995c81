"""The fields of published rows, and what lm-eval makes of them."""

import re
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.items import Choices, Cloze, Item, Page

Fields = TypeVar("Fields", bound=BaseModel)
OutputType = Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling"]  # lm-eval's
# WikiText has spaces around punctuation and numbers. These undo it, in this order (Megatron-LM's, by way of lm-eval)
DETOKENIZED = (
    (r"s '", "s'"), (r"/' [0-9]/", "/'[0-9]/"), (r" @-@ ", "-"), (r" @,@ ", ","), (r" @\.@ ", "."), (r" : ", ": "),
    (r" ; ", "; "), (r" \. ", ". "), (r" ! ", "! "), (r" \? ", "? "), (r" , ", ", "), (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"), (r"{\s*([^}]*?)\s*}", r"{\1}"), (r"\"\s*([^\"]*?)\s*\"", r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"), (r"= = = =", "===="), (r"= = =", "==="), (r"= =", "=="), (r" ° ", "°"),
    (r" \n", "\n"), (r"\n ", "\n"), (r" N ", " 1 "), (r" 's", "'s"),
)  # fmt: skip


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half a character, {text[error.start]!r}") from None
    return text


Text = Annotated[str, AfterValidator(_whole)]


class Row(BaseModel, ABC):
    model_config = ConfigDict(frozen=True)

    @abstractmethod
    def item(self) -> Item:
        """What the row asks."""


class HellaSwag(Row):
    """Zellers et al. 2019: which of four endings a text has. The hub gives labels as text."""

    activity_label: Text
    ctx_a: Text
    ctx_b: Text
    endings: list[Text] = Field(min_length=2)
    label: int

    @model_validator(mode="after")
    def _label_is_one(self) -> Self:
        _check_choice("label", self.label, len(self.endings))
        return self

    def item(self) -> Choices:
        context = f"{self.activity_label}: {self.ctx_a} {self.ctx_b.capitalize()}"
        return Choices(_cleaned(context), tuple(map(_cleaned, self.endings)), self.label)


class Question(Row):
    """Any multiple choice, in the fields of lm-eval's own tasks."""

    query: Text
    choices: list[Text] = Field(min_length=2)
    gold: int

    @model_validator(mode="after")
    def _gold_is_one(self) -> Self:
        _check_choice("gold", self.gold, len(self.choices))
        return self

    def item(self) -> Choices:
        return Choices(self.query, tuple(self.choices), self.gold)


class Lambada(Row):
    """Paperno et al. 2016: the last word of a passage."""

    text: Text = Field(min_length=1)

    def item(self) -> Cloze:
        *before, last = self.text.split(" ")
        return Cloze(" ".join(before), f" {last}")


class WikiText(Row):
    """Merity et al. 2016, a page a row."""

    page: Text

    def item(self) -> Page:
        text = self.page
        for pattern, replacement in DETOKENIZED:
            text = re.sub(pattern, replacement, text)
        return Page(text, words=len(re.split(r"\s+", self.page)), n_bytes=len(self.page.encode()))


OUTPUT_TYPES: dict[type[Row], OutputType] = {
    HellaSwag: "multiple_choice",
    Question: "multiple_choice",
    Lambada: "loglikelihood",
    WikiText: "loglikelihood_rolling",
}


def recognized(row: dict[str, Any], where: str) -> type[Row]:
    """The schema that a file's first row has. Raises UserError if it has none."""
    for schema in OUTPUT_TYPES:
        if schema.model_fields.keys() <= row.keys():
            return schema
    known = "; or ".join(", ".join(schema.model_fields) for schema in OUTPUT_TYPES)
    raise UserError(f"{where}: has the fields {', '.join(row) or '(none)'}; a task's rows have {known}")


def read_item(schema: type[Row], row: dict[str, Any], where: str) -> Item:
    """Raises UserError if a field is missing or wrong."""
    return checked(schema, row, where).item()


def checked(schema: type[Fields], row: dict[str, Any], where: str) -> Fields:
    """The row's fields. Raises UserError if one is missing or wrong."""
    try:
        return schema.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {name}{': ' * bool(name)}{first['msg'].removeprefix('Value error, ')}") from None


def _check_choice(name: str, chosen: int, n: int) -> None:
    if not 0 <= chosen < n:
        raise ValueError(f"{name} is {chosen}, but there are {n} choices, counted from 0")


def _cleaned(text: str) -> str:
    """The marks of WikiHow, from where a part of HellaSwag is, removed."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")
