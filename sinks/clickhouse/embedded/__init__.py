"""ClickHouse's engine without a server: how it is opened, how rows get in, and its own HTTP door with a guard.

Whoever works with the warehouse goes through `sinks.clickhouse`, which is the same for a server and for this engine.
What only the embedded engine needs stands here: its faults, its door, its rules of what may be asked.
"""
