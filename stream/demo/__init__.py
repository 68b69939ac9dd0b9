"""The demo: the main job on real input in one process, with an embedded broker and engine.

It may use every other room, and none may use it.
"""
