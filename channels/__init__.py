"""The channels, a folder for each. They do not know each other, nor the runtime."""
