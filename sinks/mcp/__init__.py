"""The figures as tools for a model: typed questions, bounded answers, and never a statement from outside.

The tools ask the same desk as the page and the API, so they tell the same digits. Names in answers are text that events
brought: each answer says that they are data.
"""
