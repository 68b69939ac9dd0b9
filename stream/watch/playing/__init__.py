"""A history played against rules that workers judge by, on a clock of its own. A team tunes a threshold by it.

``arrivals`` adds up what came when. ``hours`` plays the rules about 60 minutes, ``forecasts`` those about budgets that
will be used up. Budgets and limits themselves are played in ``stream.budgets``.
"""
