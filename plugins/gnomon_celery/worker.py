"""The application for Celery's own command line: `celery -A gnomon_celery.worker worker -Q reports`.

It is configured by $GNOMON_CONFIG, a config file with [plugins.celery], or by $GNOMON_CELERY_BROKER and
$GNOMON_CELERY_CHANNEL, and in the same way by the other keys of that section.
"""

from __future__ import annotations

import os

from gnomon_celery.worker_app import make_worker_app
from gnomon_celery.worker_config import worker_config_of_environment

app = make_worker_app(worker_config_of_environment(os.environ))
