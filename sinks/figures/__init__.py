"""Every figure that the HTTP API, the page and the tools for models tell: typed questions in, exact rows out.

A question here selects from the views and may add up a column of one; what a cost is, is said in the views alone.
Spans, dimensions and values come as arguments, are checked, and reach the engine as bound parameters. The room knows
nothing of HTTP or HTML, and nobody's SQL comes in.
"""
