"""Workspaces: the checkout, or a clone of it that one flow run has for itself.

`workspace.py` is what tasks talk to, `clone.py` is what git does for it, `locks.py` lets only one run at a time do the
same work. Read `workspace.py` first.
"""
