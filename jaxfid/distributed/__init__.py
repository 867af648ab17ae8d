"""Several processes that evaluate as one: group, heartbeat, gather."""
