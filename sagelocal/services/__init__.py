"""One folder per AWS service. In each:

api.py, *_api.py   the operations that clients call
documents.py       the kinds of documents that it keeps in the store, and what is in each
cfn.py             the service's resources in CloudFormation stacks
"""

import importlib
import pkgutil


def load_all() -> None:
    """Import every module of every service, so that operations, hooks and resource types are registered."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
