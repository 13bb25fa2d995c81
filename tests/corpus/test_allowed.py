"""GPTCORE_DATA_ROOTS: whatever a source is called, nothing is read that lies elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from gptcore.config.settings import settings
from gptcore.corpus.allowed import require_allowed_address
from gptcore.corpus.split import TokenizerChoice
from gptcore.corpus.vocabulary import fetch_vocabulary
from gptcore.errors import UserError
from tests.corpus.test_sources import texts
from tests.support.web import Web, serve

PARTS = ["..", ".", "", "texts", "more texts", "in", "out", "*", "**", "?ut", "a.txt", "to_secret.txt", ".hidden", "~"]
REFUSED = "is not in GPTCORE_DATA_ROOTS, where runs here may read: "


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The repository's folder; it may read `texts` and, outside, `more texts`."""
    top = tmp_path_factory.mktemp("top")
    for name in ("repository/texts/.hidden", "more texts", "more texts/plain", "secret"):
        (top / name).mkdir(parents=True)
        (top / name / "a.txt").write_text("open")
    root = top / "repository"
    for place in (root / "a.txt", root / "texts/.hidden/a.txt", top / "secret/a.txt", top / "texts-secret.txt"):
        place.write_text("SECRET")
    (root / "texts/in").symlink_to(top / "more texts")
    (root / "texts/out").symlink_to(top / "secret")
    (root / "texts/to_secret.txt").symlink_to(top / "secret/a.txt")
    (top / "more texts/back").symlink_to(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("GPTCORE_DATA_ROOTS", f"texts '{top}/more texts'")
        yield root


@hypothesis(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=7), st.booleans())
@example(["texts", "in", "..", "secret", "a.txt"], False)
@example(["texts", "in", "back", "a.txt"], False)
@example(["texts", "**", "*"], True)
def test_no_path_leads_elsewhere(tree: Path, parts: list[str], absolute: bool) -> None:
    source = "/".join([str(tree)] * absolute + parts)
    try:
        read = texts(tree, source)
    except (UserError, ValueError):
        return
    assert set(read) == {"open"}


def test_what_is_listed_is_read(tree: Path) -> None:
    for source in ("texts/in/*.txt", f"{tree.parent}/more texts/a.txt", ["texts/in/a.txt", "texts/../texts/in/plain"]):
        assert set(texts(tree, source)) == {"open"}
    choice = TokenizerChoice(tokenizer="sentencepiece", sentencepiece_model="a.txt", sentencepiece_sha256="")
    for read in (
        lambda: texts(tree, "texts/to_secret.txt"),
        lambda: texts(tree, "/nowhere"),
        lambda: texts(tree, ["texts/in", "https://example.org/a.txt"]),
        lambda: fetch_vocabulary(choice, tree, tree, tree),
    ):
        with pytest.raises(UserError, match=f"{REFUSED}texts '"):
            read()


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("https://example.org/a/b.txt?page=1", True),
        ("https://EXAMPLE.org:443/a/b.txt", True),
        ("https://example.org/ab.txt", False),
        ("https://example.org.evil.org/a/b.txt", False),
        ("https://example.org:8443/a/b.txt", False),
        ("https://example.org/a/../b.txt", False),
        ("https://example.org/a/%2e%2E/b.txt", False),
        ("https://example.org/a/..%2fb.txt", False),
        ("https://evil.org\\@example.org/a/b.txt", False),
        ("http://example.org/a/b.txt", False),
        ("s3://bucket/texts/*.txt", True),
        ("s3://bucket/text", False),
        ("s3://bucket2/texts/a.txt", False),
        ("hf://owner/name/config?split=train", True),
        ("hf://owner/names", False),
        ("package://any/1.0/*.txt", True),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, address: str, is_allowed: bool) -> None:
    roots = "/folder https://example.org/a s3://bucket/texts/ hf://owner/name package://"
    monkeypatch.setenv("GPTCORE_DATA_ROOTS", roots)
    if is_allowed:
        require_allowed_address("data.source", address)
    else:
        with pytest.raises(UserError, match=f"^data.source: .* {REFUSED}{roots}; "):
            require_allowed_address("data.source", address)


def test_redirects_lead_only_to_what_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serve(Web({})) as web:
        web.files["c.txt"] = b"open"
        web.redirects |= {"texts/a.txt": "/c.txt", "texts/b.txt": "/texts/a.txt"}
        monkeypatch.setenv("GPTCORE_DATA_ROOTS", web.url("texts"))
        with pytest.raises(UserError, match=f"texts/a.txt redirects: .*/c.txt {REFUSED}"):
            texts(tmp_path, web.url("texts/b.txt"))
        settings.cache_clear()
        monkeypatch.setenv("GPTCORE_DATA_ROOTS", f"{web.url('texts')} {web.url('c.txt')}")
        assert texts(tmp_path, web.url("texts/b.txt")) == ["open"]


@pytest.mark.parametrize(
    ("roots", "said"),
    [("'a", "No closing quotation"), ("ftp://a", "ftp://a is neither a folder nor"), ("~nobody-9/a", "names a user")],
)
def test_what_is_no_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roots: str, said: str) -> None:
    monkeypatch.setenv("GPTCORE_DATA_ROOTS", roots)
    with pytest.raises(UserError, match=f"^GPTCORE_DATA_ROOTS.*{said}"):
        texts(tmp_path, "a.txt")
