"""What `gptcore doctor` looks at: each check takes what it needs and returns findings, one line each.

`machine.py` looks at hardware and torch, `installed.py` at packages, `checkout.py` at git and DVC's remote, and
`servers.py` asks whoever may be up. `examine.py` runs them all; begin there. No check raises for what it finds.
"""
