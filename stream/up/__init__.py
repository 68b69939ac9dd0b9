"""The local stack that stays: `costream up` runs broker, engine and workers on one machine, all data in one folder.

Each part is a process of its own, started, watched and ended from here. Nothing here reads an event or a row: it starts
what the other rooms are, and may import any of them but `demo` and `cli`.
"""
