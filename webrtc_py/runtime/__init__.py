"""Where the stack touches the world: sockets, timers, interfaces, and the order in which handlers run."""
