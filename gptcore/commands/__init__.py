"""The subcommands of `gptcore`: words come in; a line or a table, or one clear error, goes out.

One module per subcommand, with `add_arguments` and `run`; its docstring is its help. torch is imported only when a
command that needs it runs. Read `configure.py` first.
"""
