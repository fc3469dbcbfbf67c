"""Everything with I/O: the store, the inbox, the runner and its boundary, the worker, the models."""
