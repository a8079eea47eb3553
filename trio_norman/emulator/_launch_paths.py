"""Which paths belong to the Launch service, and which of them want no key."""

HEALTH_PATHS = ("/healthz", "/readyz", "/healthcheck")
STORE_PATH = "/v1/hosted_inference/inputs/"  # signed by its unguessable end


def is_launch_path(path: str) -> bool:
    """Tell whether a path belongs to the Launch service."""
    return path.startswith("/v1/") or path in HEALTH_PATHS
