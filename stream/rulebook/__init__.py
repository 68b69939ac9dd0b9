"""Rules in files: what a team writes about its budgets and limits, checked, over what is shipped.

Pure: a text in, rules out. It imports no room but the budgets.
"""
