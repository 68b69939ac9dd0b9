"""Calls that are stored, priced anew: new rows, what they change, and the rollups that follow.

A room of commands, beside the audit: workers go on meanwhile, and know nothing of it.
"""
