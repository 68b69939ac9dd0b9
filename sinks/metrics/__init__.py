"""What Prometheus is told of usage: counters of cost, calls and tokens, and gauges of what is being spent.

Pure: calls that are new and the counts before them go in, counts and text come out. The figures are asked of the
warehouse elsewhere (``sinks/clickhouse/counted_calls.py``); nothing here asks anybody, or knows of the stream.
"""
