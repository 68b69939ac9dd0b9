"""A history played against rules that workers judge by, on a clock of its own, for whoever tunes a threshold against a
past: ``hours`` plays those about 60 minutes, ``forecasts`` those about budgets that will be used up. Budgets and limits
themselves are played in ``stream.budgets``.
"""
