"""The boards of Grafana, each for one question: what was spent, against what may be (``overview``), who spent it and
which calls it was (``explore``), how models compare (``models``), what servers and storage cost (``resources``) and
whether the figures are whole (``health``). ``rules`` has the alert rules that Grafana can judge itself.

A panel selects figures from the warehouse's views, and metrics from Prometheus. It may add up a column of a view; what
a cost is and what counts as unpriced is said in the views alone. ``python -m sinks.dashboards --write``
writes the files that Grafana loads. Grafana's library is needed for that only: nothing that runs may import this room.
"""
