"""Slack: `receive` and `render` are pure, `client` talks to Slack, `simulator` stands in for it."""
