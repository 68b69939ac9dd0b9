"""The boards of Grafana: what was spent (``cost``), how models compare (``models``) and how the pipeline does
(``health``).

A panel selects figures from the warehouse's views, and metrics from Prometheus. It may add up a column of a view; what
a cost is and what counts as unpriced is said in the views alone. ``python -m sinks.dashboards --write``
writes the files that Grafana loads. Grafana's library is needed for that only: nothing that runs may import this room.
"""
