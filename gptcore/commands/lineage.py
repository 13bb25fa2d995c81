"""Show what a version of the model is made of and who made it, with a command for each link.

gptcore lineage champion
gptcore lineage 3 --json

REF is a version, an alias, an MLflow run, a flow run (id or name), a DVC experiment or a git commit.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference", metavar="REF", help="3, champion, models:/gpt@champion, a run, experiment or commit"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from gptcore.registry.address import embedded_uri
    from gptcore.registry.history import table
    from gptcore.registry.lineage import links, named, title
    from gptcore.registry.tracking import opened_in

    with opened_in(Path.cwd()) as registry:
        version, aliases = named(registry.versions(), arguments.reference)
        made_of = list(links(version, is_embedded=registry.uri == embedded_uri(Path.cwd())))
        moves = [line for line in registry.moves.journal.lines() if version.number in (line.was, line.to)]
    if arguments.json:
        told = [{"when": each.when.isoformat(), "who": each.who, "alias": each.alias, "from": each.was, "to": each.to,
                 "why": each.why} for each in moves]  # fmt: skip
        found = {"version": version.number, "aliases": aliases, "tags": version.tags, "moves": told}
        print(json.dumps({**found, "links": [asdict(each) for each in made_of]}, indent=2, ensure_ascii=False))
        return
    print(title(version, aliases))
    print(f"{version.tags.get('promotion') or 'no run has judged it yet'}\n")
    width = max(len(each.what) for each in made_of)
    for each in made_of:
        print(f"{each.what:<{width}}  {each.name}\n{'':<{width}}  {each.command}")
    print("\n" + "\n".join(table(moves)) if moves else "\nno alias has been moved to it or from it")
