"""The way in over HTTP: webhooks, the API, and the pages."""
