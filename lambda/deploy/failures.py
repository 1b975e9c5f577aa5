"""What can go wrong in a deployment. Each class says when it is raised; its message is what the Lambda step shows.

DeployError
├── InvalidEvent          a field of the event is missing, unknown or out of its bounds
├── PackageRefused        the model package is rejected, failed, not approved, or not what was evaluated
├── EndpointFailed        the endpoint could not be created, or stands where only a person can help
├── UpdateRolledBack      the new configuration failed; the old one serves
├── SmokeTestFailed       the new configuration came into service and does not know a dog it should know
└── CallRefused           AWS refused a call: permissions, quotas, a bad reference
"""


class DeployError(Exception):
    """Base of everything the deploy function raises on purpose."""

    def __init__(self, *sentences: str):
        super().__init__(" ".join(sentences))


class InvalidEvent(DeployError):
    """The event names no valid deployment."""


class PackageRefused(DeployError):
    """The model package may not be deployed."""


class EndpointFailed(DeployError):
    """The endpoint is not in service and waiting will not change that."""


class UpdateRolledBack(DeployError):
    """The update failed and SageMaker put the previous configuration back."""


class SmokeTestFailed(DeployError):
    """The model in service did not pass its smoke test; the configuration is refused from then on."""


class CallRefused(DeployError):
    """An AWS call failed for a reason that calling again will not cure."""
