"""The network. This folder, and `testing`, are alone in importing httpx and h11."""
