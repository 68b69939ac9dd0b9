"""Which ids have been counted, and at which partition an id is at home.

Pure: what is stored comes in as frames. Nothing here reads Kafka, the warehouse or a clock.
"""
