"""Where what a channel has verified meets the inbox: who is it, what is meant, is it durable.

Nothing is acted on here. A desk answers its channel once something is stored, and never before.
"""
