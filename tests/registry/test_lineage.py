"""What names a version, and the links from it; tests/tasks/test_promote.py runs their commands."""

import pytest

from gptcore.errors import UserError
from gptcore.registry.lineage import links, named
from gptcore.registry.tracking import Version

ONE = {"flow_run_id": "0e1c-1", "flow_run_name": "big-cat", "dvc_experiment": "big-cat", "git_commit": "abcdef0123",
       "model_sha256": "5a", "data.data/a b": "11.dir", "stage_key.train": "77aa"}  # fmt: skip
TWO = {**ONE, "flow_run_id": "0e1c-2", "flow_run_name": "a 100%?", "dvc_experiment": "a-100"}
VERSIONS = [
    (Version(1, ONE, "run1"), ()),
    (Version(2, TWO, "run2"), ("champion", "best")),
    (Version(1234, {}, "r"), ()),
]


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("2", 2), ("champion", 2), ("models:/gpt/2", 2), ("models:/gpt@best", 2), ("gpt@best", 2),
        ("gpt/2", 2), ("run2", 2), ("0e1c-1", 1), ("a 100%?", 2), ("a-100", 2), ("big-cat", 1), ("1234", 1234),
    ],
)  # fmt: skip
def test_what_names_a_version(reference: str, number: int) -> None:
    assert named(VERSIONS, reference)[0].number == number


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("abcd", "abcd has made several versions of gpt: 1, 2; name one by its number"),
        ("abc", "abc is no version, alias, MLflow run, flow run, DVC experiment or commit that the registry knows; "),
        ("3", "3 is no version"),
        ("", " is no version"),
    ],
)
def test_what_does_not(reference: str, said: str) -> None:
    with pytest.raises(UserError) as refusal:
        named(VERSIONS, reference)
    assert str(refusal.value).startswith(said)


def test_links_quote_what_they_name() -> None:
    found = {link.what: link.command for link in links(VERSIONS[0][0], is_embedded=True)}
    assert found["data/a b"] == "dvc get . 'data/a b' --rev big-cat --out 'data/exported/gpt-1/data/a b'"
    assert found["MLflow run"] == "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow runs describe --run-id run1"
    assert [link.what for link in links(VERSIONS[2][0], is_embedded=False)] == ["model", "MLflow run"]
