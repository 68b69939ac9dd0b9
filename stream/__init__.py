"""The Faust application. Begin with pipeline.py: the ten verbs of a worker, on one screen.

worker.py starts and ends a worker, app.py puts its parts together, stages.py has its threads and the queues between
them, holding.py the partitions that it holds, ingest.py what becomes of a batch, judges.py who judges what is stored,
exporter.py who tells Prometheus what was used, tally.py the metrics of one worker, and status.py the look at a system
from outside. Each folder is a room that says what it is for.
"""
