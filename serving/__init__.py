"""The server: HTTP and gRPC, batching across requests, the registry follower, feedback, keys and the web page."""
