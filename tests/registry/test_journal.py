"""The journal of alias moves: no line is lost, a changed one is named, moves by hand are noticed; and the way back."""

import json
import shutil
import sqlite3
from argparse import ArgumentParser, Namespace
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread

import pytest

from gptcore.commands import registry as command
from gptcore.errors import UserError
from gptcore.files import SUMS, sha256_file, sha256sums
from gptcore.registry.champion import crown
from gptcore.registry.history import at, moment, reigns
from gptcore.registry.journal import JOURNAL, Journal, Line, faults
from gptcore.registry.judge import WITHDRAWN, Ruling
from gptcore.registry.moves import BEGAN, FOUND, Moves
from gptcore.registry.rollback import earlier
from gptcore.registry.tracking import MODEL, Registry
from tests.support.figures import lower

BITS = (2.0, 1.9, 1.8)  # of versions 1, 2 and 3


@pytest.fixture(scope="module")
def crowned(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with three versions, each of which was champion in its turn."""
    root = tmp_path_factory.mktemp("crowned")
    registry = opened_at(root, mlflow_database)
    registry.client.create_registered_model(MODEL)
    for bits in BITS:
        crown(registry, register(registry, root, bits), lower)
    return root / "mlflow.db"


@pytest.fixture
def registry(crowned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """That registry, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gptcore.registry.moves.MOVE_SECONDS", 0.0)
    return opened_at(tmp_path, crowned)


def opened_at(root: Path, database: Path) -> Registry:
    shutil.copy(database, root / "mlflow.db")
    return Registry(f"sqlite:///{root}/mlflow.db", root / "mlartifacts")


def register(registry: Registry, root: Path, bits: float) -> int:
    folder = root / f"{bits}/artifacts/export"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(f"weights of {bits}")
    (folder / SUMS).write_text(sha256sums(folder))
    tags = {
        "bits_per_byte": str(bits),
        "baseline_bits_per_byte": "9",
        "validation_text_sha256": "a",
        "promotion": "yes",
    }
    tags["model_sha256"] = sha256_file(folder / "model.safetensors")
    return int(registry.client.create_model_version(MODEL, (root / str(bits)).as_uri(), tags=tags).version)


def moves(registry: Registry) -> list[tuple[int | None, int | None]]:
    return [(line.was, line.to) for line in registry.moves.lines(registry.aliases()) if line.alias == "champion"]


def gptcore_registry(*words: str) -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(words, Namespace()))


def refused(*words: str) -> str:
    with pytest.raises(UserError) as refusal:
        gptcore_registry(*words)
    return str(refusal.value)


def test_history_names_every_move(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    gptcore_registry("history")
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["LINE", "WHEN", "WHO", "ALIAS", "FROM", "TO", "WHY"]
    assert [row.split()[4:7] for row in rows] == [
        ["champion", "-", "1"],
        ["champion", "1", "2"],
        ["champion", "2", "3"],
    ]
    assert rows[2].endswith("its 1.8 bits per byte against 1.9")


def test_two_hosts_at_once_lose_no_line(registry: Registry) -> None:
    """On two hosts that begin the journal together, and each go on with it."""
    experiment = registry.client.get_experiment_by_name(JOURNAL)
    registry.client.rename_experiment(experiment.experiment_id, "another")
    begin = Barrier(3)

    def write(host: int) -> None:
        journal = Journal(registry.client, registry.place)
        begin.wait()
        for number in range(5):
            while not journal.add(journal.lines(), "champion", number, f"{host}"):
                pass

    threads = [Thread(target=write, args=(host,)) for host in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = Journal(registry.client, registry.place).lines()
    assert [line.number for line in lines] == list(range(1, 16))
    for host in range(3):
        assert [line.to for line in lines if line.why == str(host)] == list(range(5))
    assert not list(faults(lines))


def test_alias_follows_the_journal(registry: Registry) -> None:
    """A host that moves the alias later than the host whose line comes after its own."""
    hosts = [registry.moves]

    def late(alias: str, number: int) -> None:
        if hosts:
            hosts.pop().move(alias, 1, "meanwhile")
        registry.moves.put(alias, number)

    Moves(registry.moves.journal, registry.moves.holds, late).move("champion", 2, "x")
    assert registry.aliases()["champion"] == 1
    assert moves(registry)[-1][1] == 1


def test_changed_line_is_named(registry: Registry) -> None:
    one, two, three = registry.moves.lines([])
    assert list(faults([one, three])) == ["line 3 follows line 1: those between are missing"]
    assert list(faults([two, three])) == ["line 2 follows line 0: those between are missing"]
    alien = Line.read(2, "x")
    assert next(faults([one, alien, three])) == "gptcore has not written line 2"
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("UPDATE params SET value = replace(value, 'its 1.9', 'its 1.5') WHERE key = '000002'")
    said = "the journal was changed: line 3 does not follow from line 2: one of the two was changed"
    assert refused("history") == said


def test_move_by_hand_is_noticed_once(registry: Registry) -> None:
    registry.client.set_registered_model_alias(MODEL, "champion", "1")
    registry.client.set_registered_model_alias(MODEL, "best", "2")
    assert moves(registry)[-1] == (3, 1)
    last = registry.moves.lines([])[-2:]
    assert {(line.alias, line.why) for line in last} == {("champion", FOUND), ("best", BEGAN)}
    assert moves(registry) == moves(registry)
    registry.client.delete_model_version(MODEL, "1")
    assert moves(registry)[-1] == (1, None)


def test_who_was_champion_then(registry: Registry) -> None:
    lines = registry.moves.lines([])
    assert at(lines, lines[1].when).startswith("gpt version 2 was champion, since 20")
    assert at(lines, lines[2].when).startswith("gpt version 3 was champion, since 20")
    assert at(lines, moment("2020-01-01")).startswith("not known: the journal's first line about champion is of 20")
    assert moment("2026-11-01") == datetime(2026, 11, 1, 23, 59, 59, 999999, UTC)
    assert moment("2026-11-01T12:30") == moment("2026-11-01 13:30+01:00") == datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    assert refused("history", "--at", "1.11.2026").startswith("`1.11.2026` is no date; write 2026-11-01")


def test_how_long_each_was_champion(registry: Registry) -> None:
    registry.moves.move("challenger", 2, "it is another alias")
    registry.client.delete_registered_model_alias(MODEL, "champion")
    registry.moves.notice("champion")
    gptcore_registry("promote", "1", "--why", "it is smaller")
    lines = [line for line in registry.moves.journal.lines() if line.alias == "champion"]
    found = reigns(registry.moves.journal.lines())
    assert [each.began.to for each in found] == [1, 2, 3, 1]
    ends = [lines[1].when, lines[2].when, lines[3].when, None]  # the fourth took it away: a time without a champion
    assert [each.until for each in found] == ends
    assert found[-1].began.why == "by hand: it is smaller"


def test_a_person_promotes_a_version_and_withdraws_none(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    gptcore_registry("promote", "1", "--why", "it is\n smaller")
    assert capsys.readouterr().out == "gpt version 1 is the champion\n"
    assert registry.aliases()["champion"] == 1
    assert registry.moves.journal.lines()[-1].why == "by hand: it is smaller"
    assert not registry.version(3).tags.get(WITHDRAWN)
    gptcore_registry("rollback", "--why", "it swears")
    gptcore_registry("promote", "1", "--why", "it does not swear after all")
    assert not registry.version(1).tags.get(WITHDRAWN)
    assert "champion already" in refused("promote", "1", "--why", "x")
    assert "no gpt version 9" in refused("promote", "9", "--why", "x")
    assert "is empty" in refused("promote", "2", "--why", " ")


def test_rollback_goes_to_the_champion_before(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    gptcore_registry("rollback", "--why", "it swears")
    assert "version 2 is the champion again\nno run makes version 3 champion any more" in capsys.readouterr().out
    assert moves(registry)[-1] == (3, 2)
    gptcore_registry("rollback", "--why", "so\n does this")
    assert moves(registry)[-1] == (2, 1)
    assert registry.moves.lines([])[-1].why == "rollback: so does this"
    assert (
        refused("rollback", "--why", "and this") == "the journal knows no champion before version 1; name one with --to"
    )


def test_rolled_back_version_is_not_crowned_again(registry: Registry, tmp_path: Path) -> None:
    """Though its figures are the best: not for its own run, and not when a run looks at all versions."""
    gptcore_registry("rollback", "--why", "it swears")
    assert crown(registry, 3, lower) == Ruling(False, "it was rolled back: it swears")
    registry.tag(2, {"promotion": ""})  # the champion's own run was killed before it looked
    assert crown(registry, register(registry, tmp_path, 1.85), lower).wins
    assert moves(registry)[-1] == (2, 4)
    gptcore_registry("rollback", "--to", "3", "--why", "it does not swear after all")
    assert not crown(registry, register(registry, tmp_path, 1.83), lower).wins
    assert registry.aliases() == {"champion": 3}


@pytest.mark.parametrize(
    ("champions", "before"),
    [
        ([], None),
        ([1], None),
        ([1, 2], 1),
        ([1, 2, 3, 2], 1),
        ([1, 2, 3, 2, 4], 2),
        ([1, 2, 3, 1], None),
        ([1, 2, None], 2),
    ],
)
def test_earlier_champion(champions: list[int | None], before: int | None) -> None:
    values = {
        "when": "2026-11-01T00:00:00+00:00",
        "who": "",
        "alias": "champion",
        "from": None,
        "why": "",
        "verdict": "",
    }
    texts = [json.dumps({**values, "to": to, "before": ""}) for to in champions]
    lines = [Line.read(number, text) for number, text in enumerate(texts, start=1)]
    assert earlier(lines, champions[-1] if champions else None) == before


def test_damage_is_named_and_moves_nothing(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rollback(*words: str) -> str:
        return refused("rollback", "--to", *words)

    assert rollback("9", "--why", "x") == "there is no gpt version 9; there are: 1, 2, 3; name one with --to"
    assert rollback("3", "--why", "x") == "gpt version 3 is the champion already; nothing was moved"
    assert rollback("1", "--why", " ") == "`--why` is empty; say in a few words what is wrong with the champion"
    assert rollback("1", "--why", "x" * 1001) == "`--why` has 1001 characters; 1000 are the most"
    register(registry, tmp_path, 1.85)
    weights, sums = Path("1.85/artifacts/export/model.safetensors"), Path("1.85/artifacts/export") / SUMS
    weights.write_text("other weights")
    damaged = "model.safetensors of gpt version 4 is damaged: its sha256 is not the one of SHA256SUMS and tags; "
    assert rollback("4", "--why", "x").startswith(damaged)
    sums.write_text(sha256sums(sums.parent))
    assert rollback("4", "--why", "x").startswith(damaged)
    assert refused("verify") == "damaged or gone: gpt version 4"
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" of gpt")[0] for line in told] == [
        "whole    gpt version 1", "whole    gpt version 2", "whole    gpt version 3, champion",
        "damaged  model.safetensors", "whole    the journal",
        "unknown  DVC's cache and remote, which a checkout knows: run this in one",
    ]  # fmt: skip
    assert told[3].endswith("; its tags name no DVC experiment to get it back from")
    weights.unlink()
    assert rollback("4", "--why", "x").startswith("files of gpt version 4 are gone: ")
    with pytest.raises(UserError, match="champion was just moved from version 2 to 3; nothing was moved here"):
        registry.moves.move("champion", 1, "x", only_from=2)
    assert moves(registry)[-1] == (2, 3)
    assert not any(version.tags.get(WITHDRAWN) for version, _ in registry.versions())
