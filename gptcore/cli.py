"""The command `gptcore`: one subcommand per module of gptcore/commands/."""

import argparse
import os
import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import NoReturn

import gptcore.commands
from gptcore.config.environment import check_environment
from gptcore.errors import MISTAKE_EXIT_CODE, UNAVAILABLE_EXIT_CODE, Unavailable, UserError


def main() -> None:
    parser = argparse.ArgumentParser("gptcore", description="Configure, train and look into GPT models.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for found in iter_modules(gptcore.commands.__path__):
        module = import_module(f"gptcore.commands.{found.name}")
        summary = (module.__doc__ or "").splitlines()[0]
        subparser = subparsers.add_parser(
            found.name.rstrip("_"),  # `import` is a Python keyword
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    arguments = parser.parse_args()
    try:
        check_environment()
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough, as in `gptcore registry history | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of the rest at its exit
    except Unavailable as error:
        _end(error, UNAVAILABLE_EXIT_CODE)
    except UserError as error:
        _end(error, MISTAKE_EXIT_CODE)
    except OSError as error:
        if not error.filename:
            raise
        _end(f"{error.filename}: {error.strerror}", MISTAKE_EXIT_CODE)


def _end(error: Exception | str, code: int) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(code)
