"""Where results are kept and read: the warehouse, what is answered from it, and the boards that show it.

Nothing here decides what an event is, what it costs or whether it counts, and nothing imports the stream.
"""
