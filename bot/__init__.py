"""Switchboard: a chat-ops agent bot that a team owns and runs."""
