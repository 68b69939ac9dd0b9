"""The demo: real input, and a script that plays it into the stack of `up`, with an embedded broker and engine.

It may use every other room, and none may use it.
"""
