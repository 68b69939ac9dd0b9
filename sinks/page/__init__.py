"""The page: what was spent, by whom, why, and where it will end, without Grafana and without anything from elsewhere.

Views gather answers from the desk of figures; templates show them. The page works without scripts; ``page.js`` draws
the charts and takes in what is new. Nothing here may write SQL or add up money.
"""
