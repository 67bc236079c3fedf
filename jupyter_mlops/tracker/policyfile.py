"""Policies as YAML: for people to read, and to keep beside the code. Mistakes are told by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from jupyter_mlops.core.checks import SETTINGS
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.policy import CheckRule, Policy, check_rule, checked_policy
from jupyter_mlops.core.suggestions import did_you_mean
from jupyter_mlops.core.values import short

LARGEST = 1_000_000
"""Characters of a file."""
FIELDS = Policy.__struct_fields__


def read_policy(text: str) -> Policy:
    """The policy that the text describes. What it leaves out is as in the default for groups.

    Raises
    ------
    InvalidValue
        It is none; the message has a line for each mistake, ``line 3: ...``.
    """
    if len(text) > LARGEST:
        raise InvalidValue(f"a policy has no {len(text)} characters")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = (error.problem_mark.line if error.problem_mark else 0) + 1
        raise InvalidValue(f"line {line}: this is no YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidValue(f"this is no YAML: {short(str(error), 200)}") from error
    if root is None:
        return checked_policy(Policy())
    if not isinstance(root, yaml.MappingNode):
        raise InvalidValue(f"line {_line(root)}: a policy is a list of names and values, such as 'approvals: 2'")
    mistakes, given = [], dict[str, Any]()
    for key, node in root.value:
        try:
            name = _scalar(key)
            if name in given:
                raise InvalidValue(f"{name} is there twice")
            given[name] = _value(str(name), node)
        except _MistakesError as several:
            mistakes.append(several.args[0])
        except InvalidValue as error:
            mistakes.append(f"line {_line(key)}: {error.message}")
    if not mistakes:
        try:
            return checked_policy(Policy(**given))
        except InvalidValue as error:
            named = [_line(key) for key, _ in root.value if error.message.startswith(f"{_scalar(key)}:")]
            mistakes = [f"line {named[0] if named else 1}: {error.message}"]
    raise InvalidValue("\n".join(mistakes))


def policy_yaml(policy: Policy) -> str:
    """The policy as text that :func:`read_policy` reads."""
    # What is as in the default is told, too.
    plain = msgspec.to_builtins(msgspec.structs.asdict(policy))
    plain["checks"] = [
        {rule.name: msgspec.to_builtins(rule.settings)} if rule.settings else rule.name for rule in policy.checks
    ]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


class _MistakesError(Exception):
    """Mistakes with their lines."""


def _value(name: str, node: yaml.Node) -> Any:
    if name not in FIELDS:
        raise InvalidValue(
            f"a policy has no {short(name)}{did_you_mean(name, FIELDS) or '; it has ' + ', '.join(FIELDS)}"
        )
    if name == "checks":
        if not isinstance(node, yaml.SequenceNode):
            raise InvalidValue("checks: expected a list of checks, such as [loads]")
        return _rules(node)
    kind = {each.name: each.type for each in msgspec.structs.fields(Policy)}[name]
    try:
        return msgspec.convert(_plain(node), kind)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"{name}: {error}") from error


def _rules(node: yaml.SequenceNode) -> tuple[CheckRule, ...]:
    rules, mistakes = [], []
    for each in node.value:
        try:
            rules.append(_rule(each))
        except InvalidValue as error:
            mistakes.append(f"line {_line(each)}: {error.message}")
    if mistakes:
        raise _MistakesError("\n".join(mistakes))
    return tuple(rules)


def _rule(node: yaml.Node) -> CheckRule:
    if isinstance(node, yaml.MappingNode):
        if len(node.value) != 1:
            raise InvalidValue("checks: each is a name, or one name with its settings below it")
        key, below = node.value[0]
        settings = _plain(below)
        if not isinstance(settings, dict):
            raise InvalidValue(f"check {short(_scalar(key))}: its settings are names and values")
        rule = CheckRule(name=str(_scalar(key)), settings=settings)
    else:
        rule = CheckRule(name=str(_scalar(node)))
    check_rule(rule)
    return rule


def unknown_checks(policy: Policy) -> Iterator[str]:
    """The checks that do not come with this package: a worker must have them installed."""
    return (rule.name for rule in policy.checks if rule.name not in SETTINGS)


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise InvalidValue("expected a name")
    return _plain(node)


def _plain(node: yaml.Node) -> Any:
    try:
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidValue(f"this cannot be read: {short(str(error), 200)}") from error


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
