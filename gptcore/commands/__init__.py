"""The subcommands of `gptcore`: each takes arguments and prints a line, a table or one clear error.

Each subcommand is a module with `add_arguments` and `run`; its docstring is its help. torch is imported only when a
command needs it. Read `configure.py` first.
"""
