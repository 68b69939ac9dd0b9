"""What turns stored rows into answers: pure, so that the commands, and later the API and the page, tell the same.

An answer is worked out here from rows and from the book of prices, and shown elsewhere. It asks no warehouse and
imports nothing of the stream.
"""
