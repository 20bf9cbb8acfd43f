"""Who is measured: for each client, what its user would write.

A client is a function. It imports what it needs, connects, and returns another function, which is what is
measured; that one returns what it found, so that the count can be checked.
"""
