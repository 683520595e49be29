"""The settings of the services: small, and busy with upkeep, so that kills meet all of it."""

from pathlib import Path


def settings(name: str, cache_dir: Path) -> dict[str, str]:
    """Environment variables of both services; ``name`` is that of bucket and queue."""
    return {
        "FRUITS_STORAGE__BUCKET": name,
        "FRUITS_QUEUE__NAME": name,
        "FRUITS_QUEUE__DEAD_LETTER_NAME": f"{name}-dead",
        "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "10",
        "FRUITS_BATCH__MAX_SECONDS": "3",
        "FRUITS_MODEL__WEIGHTS": "random",
        "FRUITS_MODEL__INPUT_SIZE": "32",
        "FRUITS_PCA__COMPONENTS": "3",
        "FRUITS_PCA__INTERVAL_SECONDS": "10",
        "FRUITS_PCA__GROWTH_SHARE": "0.02",
        "FRUITS_PCA__GROWTH_PHOTOS": "0",
        "FRUITS_PCA__LEAST_PAUSE": "0",
        "FRUITS_UPKEEP__INTERVAL_SECONDS": "5",
        "FRUITS_UPKEEP__RECONCILE_INTERVAL_SECONDS": "0",  # it would mend what is lost
        "FRUITS_SERVICE__CACHE_DIR": str(cache_dir),
        "FRUITS_SERVICE__STOP_GRACE_SECONDS": "5",
        "FRUITS_LOGS__GROUP": f"/{name}",
        "FRUITS_INSTANCE__TYPE": "",
    }
