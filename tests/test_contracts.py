"""Facts stated in several files must agree: dvc.yaml, signatures, Paths, tasks, flow, README."""

import ast
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flows.train_gpt import STAGES as FLOW_ORDER
from gptcore.closure import closure
from gptcore.config.params import Section, read_params, stage_sections
from gptcore.config.paths import Paths
from gptcore.config.presets import STAGES, compose, section_types
from tests.support.closure import ROOT, code_of

DVC = read_params(ROOT / "dvc.yaml")["stages"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_LINES = 400
SOURCES = (".py", ".yaml", ".yml", ".toml", ".md", "")  # "" is Makefile, LICENSE and the like


def outputs(stage: str) -> list[str]:
    return [*DVC[stage].get("outs", []), *DVC[stage].get("metrics", [])]


def function(stage: str) -> Any:
    return getattr(importlib.import_module(f"gptcore.stages.{stage}"), stage)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_one_word_for_the_stages() -> None:
    assert list(DVC) == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_for_a_stage(stage: str) -> None:
    """Its name is the same in dvc.yaml, module, function and task."""
    assert DVC[stage]["cmd"] == f"python -m gptcore.stages.{stage}"
    assert function(stage).__name__ == stage
    assert getattr(importlib.import_module(f"tasks.{stage}"), stage).name == stage


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_import_closure(stage: str) -> None:
    code = [path for path in DVC[stage]["deps"] if path.endswith(".py")]
    assert code == code_of(stage), "mend it with `python -m tests.support.closure`"


@pytest.mark.parametrize("module", ["gptcore.stages.download", "gptcore.training.run"])
def test_the_closure_holds_all_that_is_imported(module: str) -> None:
    """Python itself says which modules an import brings in. What takes a second and few need is none of them."""
    ask = (
        f"import sys, {module}\n"
        "assert not {'torch._dynamo', 's3fs', 'fsspec', 'botocore', 'boto3'} & set(sys.modules)\n"
        "modules = [module for name, module in sys.modules.items() if name.startswith('gptcore')]\n"
        "print(*(module.__file__.removeprefix(sys.argv[1]) for module in modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", ask, f"{ROOT}/"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {path for path in said.split() if has_code(path)} <= set(closure(module))


def has_code(path: str) -> bool:
    """A package with only a docstring has no code."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse((ROOT / path).read_text()).body)


def unbounded(kind: type[BaseModel]) -> list[str]:
    """The integers of a section that may be of any size, in nested sections too."""
    schema = kind.model_json_schema()
    sections = [schema, *schema.get("$defs", {}).values()]
    properties = [(name, field) for each in sections for name, field in each["properties"].items()]
    fields = [(name, option) for name, field in properties for option in (field, *field.get("anyOf", []))]
    integers = [(name, field) for name, field in fields if field.get("type") == "integer"]
    return [name for name, field in integers if not field.keys() & {"maximum", "exclusiveMaximum"}]


def test_every_integer_has_an_upper_bound() -> None:
    """Whoever types one digit too many gets a line and not a process that takes all memory."""
    assert {name: unbounded(kind) for name, kind in section_types().items() if unbounded(kind)} == {}


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_signature(stage: str) -> None:
    """A whole section is listed by name, a view by its fields."""
    expected = []
    for name, kind in stage_sections(function(stage)).items():
        expected += [name] if issubclass(kind, Section) else [f"{name}.{field}" for field in kind.model_fields]
    assert sorted(DVC[stage]["params"]) == sorted(expected)


@pytest.mark.parametrize("stage", STAGES)
def test_paths_are_those_of_paths(stage: str) -> None:
    folder = Paths(Path()).of(stage)
    assert all(Path(path).is_relative_to(folder) for path in outputs(stage))
    assert any((folder / "metrics.json").is_relative_to(path) for path in outputs(stage))
    made = [output for other in STAGES if other != stage for output in outputs(other)]
    data = [path for path in DVC[stage]["deps"] if not path.endswith(".py")]
    assert all(any(Path(path).is_relative_to(output) for output in made) for path in data)


def test_the_flow_runs_stages_after_what_they_need() -> None:
    order = [task.name for task in FLOW_ORDER]
    assert sorted(order) == sorted(STAGES)
    for stage in STAGES:
        for path in DVC[stage]["deps"]:
            makers = [other for other in STAGES if any(Path(path).is_relative_to(each) for each in outputs(other))]
            assert all(order.index(maker) < order.index(stage) for maker in makers), f"{stage} reads {path}"


def test_params_yaml_is_what_the_presets_compose(tmp_path: Path) -> None:
    """Expected to fail while you experiment with params.yaml; `gptcore configure model=nano` resets it."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    assert read_params(ROOT / "params.yaml") == compose([], tmp_path / "params.yaml")


def test_no_file_is_too_long() -> None:
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in tracked() if path.suffix in SOURCES}
    lines["dvc.yaml"] -= sum(len(stage["deps"]) for stage in DVC.values())  # lists that a command writes
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_nothing_reaches_outside_the_repository() -> None:
    """A clone is self-contained: no file names a folder outside it or a path on somebody's machine."""
    outside = re.compile(r"(?<![\w./])(?:[.]{2}/|/(?:home|root|Users|opt|mnt|srv)/)")
    texts = {path: path.read_text(encoding="utf-8") for path in tracked() if path.suffix in SOURCES}
    assert {path.name: found for path, text in texts.items() if (found := outside.findall(text))} == {}


def named_in_the_tree_of(page: str) -> set[str]:
    tree = re.search(r"```text\n(gptcore/.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert tree
    named, folder = set(), ""
    for line in tree[1].splitlines():
        indented, name = line.startswith(" "), line.split()[0]
        folder = folder if indented else name
        named.add(folder + name if indented else name)
    return named


@pytest.mark.parametrize("page", ["README.md", "docs/tree.md"])
def test_the_tree_is_the_repository(page: str) -> None:
    """Every path in it exists; every wing has a line, and on the page of docs/ every module beside the wings too."""
    named = named_in_the_tree_of(page)
    assert [name for name in sorted(named - {"dvc.lock"}) if not (ROOT / name).exists()] == []  # made by the first run
    for top in ("gptcore", "tasks", "flows", "serving", "lab"):
        modules = {f"{top}/{path.name}" for path in (ROOT / top).glob("*.py") if "__" not in path.name}
        assert {f"{top}/{wing.name}/" for wing in wings(top)} <= named
        assert page == "README.md" or modules <= named


def test_readme_is_short_and_the_index_has_every_page() -> None:
    assert README.count("\n") <= 150
    index = re.sub("<!--.*?-->", "", (ROOT / "docs/index.md").read_text(encoding="utf-8"))
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"]({page.name})" not in index] == [
        "index.md"
    ]
    large = [path.name for path in (ROOT / "docs").glob("*.png") if path.stat().st_size > 150_000]
    assert large == []


def wings(top: str) -> list[Path]:
    return [each.parent for each in (ROOT / top).glob("*/__init__.py")]


def tours(top: str) -> list[Path]:
    """The wings and the rooms that they part into."""
    return [each.parent for each in sorted((ROOT / top).glob("*/**/__init__.py"))]


@pytest.mark.parametrize("wing", [wing for top in ("gptcore", "tasks", "flows", "lab") for wing in tours(top)], ids=str)
def test_a_wing_has_a_tour(wing: Path) -> None:
    """Its __init__ gives inputs, outputs and where to begin in three to six lines; the files it names exist."""
    tour = ast.get_docstring(ast.parse((wing / "__init__.py").read_text()))
    assert tour
    assert 3 <= len([line for line in tour.splitlines() if line.strip()]) <= 6
    assert [name for name in re.findall(r"`([a-z_]+[.]py)`", tour) if not (wing / name).is_file()] == []
