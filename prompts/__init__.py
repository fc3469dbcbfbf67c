"""The agents' prompts, a text file each. Nothing but text lives here."""
