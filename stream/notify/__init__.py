"""Alerts reach people here: which revision is due on which channel, what has been sent, and what is tried again.

`lane.py` decides and is pure; `notifier.py` sends and keeps the ledger. Change here what a person is told, and when. It
must never judge: what an alert is, the watch has decided.
"""
