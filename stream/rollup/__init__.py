"""Events in, rows of hours, users and days out, each with everything that its partition has added to it.

Pure: rows that were let go are read back by whoever is given in. Nothing here reads Kafka, the warehouse or a clock.
"""
