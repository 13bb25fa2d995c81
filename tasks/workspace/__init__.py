"""Workspaces: the checkout, or a clone of it that belongs to one flow run.

`workspace.py` is the interface for tasks, `clone.py` makes clones with git, `revisions.py` finds the
commit of a version, `locks.py` keeps two runs from doing the
same work at once, `slots.py` keeps a machine from doing too much at once. Read `workspace.py` first.
"""
