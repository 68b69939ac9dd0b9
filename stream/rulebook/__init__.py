"""Rules in files: what a team writes about budgets, limits and what is unusual, checked, over what is shipped.

Pure: a text in, rules out. It imports no room but the budgets.
"""
