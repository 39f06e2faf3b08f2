"""Make the neutral schema of a type: pydantic's, without what pydantic made up."""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

from stratum.hashing import canonical, jsonable
from stratum.schemas import DEFS, Schema, definitions, mapped, referred, resolved, subschemas

_BOUNDS = frozenset(["exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"])


def neutral_schema(adapter: TypeAdapter[Any]) -> Schema:
    """Return what an answer must look like, independent of class names and docstrings.

    Keywords are sorted, `properties` stay in declared order, definitions are called "1",
    "2", ... in order of first use, and every pydantic that we allow gives the same.

    >>> neutral_schema(TypeAdapter(list[int]))
    {'items': {'type': 'integer'}, 'type': 'array'}
    """
    made = adapter.json_schema(schema_generator=_Generator, mode="validation")
    schema = jsonable(made, "the JSON schema")
    return _renamed(_normal(schema, definitions(schema)))


class _Generator(GenerateJsonSchema):
    """pydantic's generator without made-up titles, docstrings and version differences."""

    ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 (declared so by pydantic)

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        if kind == "skipped-choice":  # a member of a union must not vanish
            raise PydanticInvalidForJsonSchema(detail)
        super().emit_warning(kind, detail)

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        made = super().generate_inner(_with_own_description(schema))
        if schema["type"] == "enum":
            _unlabel(self.resolve_ref_schema(made), schema["cls"], {})
        return made

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        by_alias = self.by_alias
        config = schema["cls"].model_config
        self.by_alias = config.get("validate_by_alias", True)
        try:
            made = super().model_schema(schema)
        finally:
            self.by_alias = by_alias
        return _unlabel(made, schema["cls"], config)

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        made = super().dataclass_schema(schema)
        cls = schema["cls"]
        return _unlabel(made, cls, getattr(cls, "__pydantic_config__", {}))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        made = super().typed_dict_schema(schema)
        cls = schema.get("cls")
        return made if cls is None else _unlabel(made, cls, getattr(cls, "__pydantic_config__", {}))

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        made = super().str_schema(schema)
        config = getattr(self, "_config", None)  # newer versions read the lengths from there
        lengths = {
            "minLength": getattr(config, "str_min_length", None) or None,
            "maxLength": getattr(config, "str_max_length", None),
        }
        return {**{key: value for key, value in lengths.items() if value is not None}, **made}

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        made = super().decimal_schema(schema)
        text = {"type": "string", **_decimal_text(schema)}
        members = [sub if sub.get("type") != "string" else text for sub in made.get("anyOf", [])]
        return {**made, "anyOf": members} if members else text

    def generator_schema(self, schema: core_schema.GeneratorSchema) -> JsonSchemaValue:
        return self.handle_invalid_for_json_schema(schema, "an iterator; use list[...]")


def _unlabel(made: JsonSchemaValue, cls: type, config: Any) -> JsonSchemaValue:
    """Take out the title and description that were made of the class, unless they are given."""
    given = _given(cls, config)
    labels = {"title": cls.__name__, "description": inspect.cleandoc(cls.__doc__ or "")}
    for key, label in labels.items():
        if given.get(key) is not None:
            made[key] = given[key]
        elif made.get(key) == label:
            del made[key]
    return made


def _given(cls: type, config: Any) -> dict[str, Any]:
    """Return the labels that the class was given; not all versions prefer them to its own."""
    extra = config.get("json_schema_extra")
    given = {"title": config.get("title")}
    if issubclass(cls, BaseModel) and cls.__pydantic_root_model__:
        root = cls.model_fields["root"]
        given = {"title": given["title"] or root.title, "description": root.description}
    return {**given, **extra} if isinstance(extra, dict) else given


def _with_own_description(schema: Any) -> Any:
    """Return a root model's core schema with the description of its root, not the docstring."""
    updates = schema.get("metadata", {}).get("pydantic_js_updates", {})
    if not schema.get("root_model") or "description" not in updates:
        return schema
    own = schema["cls"].model_fields["root"].description
    changed = {**schema["metadata"], "pydantic_js_updates": {**updates, "description": own}}
    return {**schema, "metadata": changed}


def _decimal_text(schema: core_schema.DecimalSchema) -> Schema:
    """Say in a plain pattern what digits a decimal may have; each version has its own."""
    digits, places = schema.get("max_digits"), schema.get("decimal_places")
    if places is not None:
        whole = "+" if digits is None else f"{{1,{max(digits - places, 1)}}}"
        return {"pattern": f"^-?[0-9]{whole}(\\.[0-9]{{0,{places}}})?$"}
    if digits is not None:
        return {"maxLength": digits + 3}  # with a sign, a point, and a zero before it
    return {}


def _normal(node: Any, defs: Mapping[str, Any]) -> Any:
    """Return the node in the one form that all versions of pydantic agree on."""
    if not isinstance(node, dict):
        return node
    changed = mapped(node, lambda sub: _normal(sub, defs))
    enum = changed.get("enum")
    if isinstance(enum, list) and len(enum) == 1:
        changed = {"const": enum[0], **{k: v for k, v in changed.items() if k != "enum"}}
    if isinstance(changed.get("required"), list):
        order = list(changed.get("properties", {}))
        changed["required"] = sorted(changed["required"], key=lambda name: _place(name, order))
    if isinstance(changed.get("discriminator"), dict):  # its mapping only repeats the members
        changed["discriminator"] = {"propertyName": changed["discriminator"].get("propertyName")}
    if "default" in changed:
        changed["default"] = settled(changed["default"], changed, defs)
    return {key: _number(key, changed[key]) for key in sorted(changed)}


def _place(name: str, order: list[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _number(key: str, value: Any) -> Any:
    return int(value) if key in _BOUNDS and value == int(value) else value


def settled(value: Any, node: Any, defs: Mapping[str, Any]) -> Any:
    """Return JSON data with those lists sorted that the schema says are sets.

    >>> settled(["b", "a"], {"type": "array", "uniqueItems": True}, {})
    ['a', 'b']
    """
    node = resolved(node, defs)
    if not isinstance(node, dict):
        return value
    for key in ("anyOf", "oneOf", "allOf"):
        for member in node.get(key, []):
            value = settled(value, member, defs)
    if isinstance(value, list):
        inner = [settled(element, node.get("items"), defs) for element in value]
        return sorted(inner, key=canonical) if node.get("uniqueItems") is True else inner
    if isinstance(value, dict):
        fields, other = node.get("properties", {}), node.get("additionalProperties")
        return {key: settled(sub, fields.get(key, other), defs) for key, sub in value.items()}
    return value


def _renamed(schema: Schema) -> Schema:
    """Call the definitions "1", "2", ... in order of first use; drop the unused."""
    defs, names = definitions(schema), dict[str, str]()
    root = {key: value for key, value in schema.items() if key != "$defs"}
    pending = [root]
    for node in pending:
        pending += [defs[name] for name in _met(node, defs, names)]
    renamed: Schema = {names[name]: _refer(defs[name], names) for name in names}
    changed: Schema = _refer(root, names)
    return {"$defs": renamed, **changed} if renamed else changed


def _met(node: Any, defs: Mapping[str, Any], names: dict[str, str]) -> list[str]:
    """Name the definitions that the node is the first to use."""
    name, new = referred(node), list[str]()
    if name is not None and name in defs and name not in names:
        names[name] = str(len(names) + 1)
        new.append(name)
    for _, sub in subschemas(node):
        new += _met(sub, defs, names)
    return new


def _refer(node: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(node, dict):
        return node
    changed = mapped(node, lambda sub: _refer(sub, names))
    name = names.get(referred(node) or "")
    return {**changed, "$ref": f"{DEFS}{name}"} if name else changed
