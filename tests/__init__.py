"""Mirrors the tree; test_contracts.py holds what must agree across files."""
