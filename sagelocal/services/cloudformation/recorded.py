"""Types that have no effect here: the stack remembers them and answers what Ref and Fn::GetAtt ask."""

import uuid
from collections.abc import Collection

from sagelocal.core.context import Context
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, register


class Recorded(Handler):
    """`name_property` gives the physical id, else a free name does. `arn`: (service, resource with {} for the id)."""

    def __init__(
        self, type: str, *, name_property: str = "", arn: tuple[str, str] = ("", ""), fixed: Collection[str] = ()
    ):
        self.type = type
        self.fixed = frozenset({*fixed, name_property} - {""})
        self._name_property, self._arn = name_property, arn

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        physical_id = str(properties.get(self._name_property, name))
        return self._made(context, physical_id)

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        """Nothing but the record is there."""

    def _made(self, context: Context, physical_id: str) -> PhysicalResource:
        service, resource = self._arn
        arn = {"Arn": context.arn(service, resource.format(physical_id))} if service else {}
        return PhysicalResource(physical_id, arn)


class Key(Recorded):
    def __init__(self) -> None:
        super().__init__("AWS::KMS::Key", arn=("kms", "key/{}"))

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        made = self._made(context, str(uuid.uuid4()))
        made.attributes["KeyId"] = made.physical_id
        return made


register(Key(), Recorded("AWS::KMS::Alias", name_property="AliasName"))
