"""The HTTP API: read-only answers under /v1, as JSON with decimals as text, as CSV or as Arrow.

What a figure is, ``sinks.figures`` says; here parameters are checked, answers are written, and doors are kept. Nothing
here may write SQL or add up money.
"""
