"""Ranks: several processes, one a device, that train or evaluate one model together.

`start.py` joins the process group, or has `launch.py` start one rank for each device of this machine. `distributed.py`
is what ranks exchange: shares, sums, decisions. How a model is spread over them is `training/sharding.py`'s business.
"""
