"""The pure part: what happened (events), what is so (the fold), what to do next (the policy).

Nothing here reads a clock, draws a random number, logs, or talks to anything.
"""
