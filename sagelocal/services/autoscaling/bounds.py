"""A count that new bounds leave outside is brought to the nearest of them."""

from sagelocal.core.context import Context
from sagelocal.services.autoscaling import activities, targets
from sagelocal.services.autoscaling.documents import TARGET


def check(context: Context, name: str) -> None:
    """Note that a target (by its name in the store) has new bounds, which `apply` will see to."""
    context.store.update(TARGET, name, {"_Bounds": "new"})


def apply(context: Context, now: float) -> None:
    """Bring the counts of targets with new bounds into them, as soon as their endpoints can be changed."""
    for name, target in context.store.items(TARGET):
        capacity = targets.capacity(context, target) if target.get("_Bounds") else None
        if capacity is None or not capacity.changeable:
            continue
        context.store.update(TARGET, name, {"_Bounds": None})
        count = targets.bounded(target, capacity.desired)
        if count != capacity.desired:
            side = "minimum" if count > capacity.desired else "maximum"
            activities.set_capacity(context, target, count, f"{side} capacity was set to {count}", now)
