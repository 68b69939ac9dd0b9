"""How well rules find what is unusual, and how often they cry wolf: every rule on the same labelled series.

``synth`` and ``traces`` make the series, ``methods`` gives each rule its scores (the code that judges in the worker),
``oracle`` the most that judging hour by hour can reach, ``scoring`` counts, ``report`` tells.
"""
