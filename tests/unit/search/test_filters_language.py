"""The grammar: what parses to what, what does not and where, and the limits at their edges."""

from __future__ import annotations

import pytest

from lookalike_common.errors import InvalidFilterError, LimitExceededError
from lookalike_search.filters import MAX_BYTES, MAX_NESTING, MAX_TERMS, Expression, parse
from lookalike_search.filters.ast import And, Comparator, Not, Or, Restriction, Value, ValueGroup


def shown(expression: Expression) -> str:
    """Write a tree in a form that shows how it was grouped."""
    match expression:
        case And(operands):
            return "all(" + ", ".join(shown(each) for each in operands) + ")"
        case Or(operands):
            return "any(" + ", ".join(shown(each) for each in operands) + ")"
        case Not(operand):
            return f"not({shown(operand)})"
        case Restriction(path, comparator, argument):
            return f"{'.'.join(path)}{comparator}{shown_argument(argument)}"


def shown_argument(argument: Value | ValueGroup) -> str:
    if isinstance(argument, Value):
        return shown_value(argument)
    joiner = "&" if argument.all_of else "|"
    return f"[{joiner.join(shown_value(each) for each in argument.values)}]"


def shown_value(value: Value) -> str:
    stars = ("<*" if value.open_start else "", "*>" if value.open_end else "")
    quote = "'" if value.quoted else ""
    return f"{stars[0]}{quote}{value.text}{quote}{stars[1]}"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", "all()"),
        ("  \t\n ", "all()"),
        ("a=1", "a=1"),
        (" a  =  1 ", "a=1"),
        ("a != 1", "a!=1"),
        ("a<=1 AND b>=2", "all(a<=1, b>=2)"),
        ("a<1 b>2", "all(a<1, b>2)"),
        ("a=1 AND b=2 OR c=3", "all(a=1, any(b=2, c=3))"),
        ("a=1 OR b=2 AND c=3", "all(any(a=1, b=2), c=3)"),
        ("a=1 b=2 OR c=3", "all(a=1, any(b=2, c=3))"),
        ("a=1 b=2 AND c=3", "all(all(a=1, b=2), c=3)"),
        ("(a=1 AND b=2) OR c=3", "any(all(a=1, b=2), c=3)"),
        ("NOT a=1", "not(a=1)"),
        ("NOT(a=1)", "not(a=1)"),
        ("-a=1", "not(a=1)"),
        ("-(a=1 b=2)", "not(all(a=1, b=2))"),
        ("NOT (NOT (a=1))", "not(not(a=1))"),
        ("a=-1", "a=-1"),
        ("a=1 -b=2", "all(a=1, not(b=2))"),
        ("a.b.c=1", "a.b.c=1"),
        ("a.\"b c\".'d.e'=1", "a.b c.d.e=1"),
        ("a.lens-type=1", "a.lens-type=1"),
        ("a=1.5e-3", "a=1.5e-3"),
        ("t>2026-01-31T12:00:00.5+01:00", "t>2026-01-31T12:00:00.5+01:00"),
        ("a=b:c", "a=b:c"),
        ("tags:red", "tags:red"),
        ('tags:"red"', "tags:'red'"),
        ("a:*", "a:<*"),
        ("a=abc*", "a=abc*>"),
        ('a="abc*"', "a='abc'*>"),
        ('a="*abc"', "a=<*'abc'"),
        ('a="*abc*"', "a=<*'abc'*>"),
        (r'a="abc\*"', "a='abc*'"),
        (r'a="\*"', "a='*'"),
        (r'a="\\*"', "a='\\'*>"),
        (r"a='it\'s'", "a='it's'"),
        ('a="it\'s"', "a='it's'"),
        (r'a="1\n2\t3\r\"4\""', "a='1\n2\t3\r\"4\"'"),
        ('a=""', "a=''"),
        ("a=(1 OR 2 OR 3)", "a=[1|2|3]"),
        ('a:("x" AND "y")', "a:['x'&'y']"),
        ("a=(1)", "a=[1]"),
        ("ANDROID=1 ORDER=2 NOTE=3", "all(ANDROID=1, ORDER=2, NOTE=3)"),
        ("größe=1", "größe=1"),
        ("a=(日本 OR 'né')", "a=[日本|'né']"),
    ],
)
def test_text_parses_to_tree(text: str, tree: str) -> None:
    assert shown(parse(text)) == tree


@pytest.mark.parametrize(
    ("text", "offset", "part"),
    [
        ("a", 1, "expected one of"),
        ("a b", 2, "found `b`"),
        ('"red"', 5, "expected one of"),
        ("a=", 2, "found the end"),
        ("a= AND b=1", 3, "found AND"),
        ("=1", 0, "name of a field"),
        ("1 < a < 5", 6, "chained"),
        ("a<1<5", 3, "chained"),
        ("a==1", 2, "expected a value"),
        ("a<>1", 2, "expected a value"),
        ("(a=1", 4, "expected `)`"),
        ("a=1)", 3, "expected the end"),
        ("()", 1, "name of a field"),
        ("a=1 AND", 7, "name of a field"),
        ("AND a=1", 0, "found AND"),
        ("a=1 AND AND b=2", 8, "found AND"),
        ("a=1 OR", 6, "name of a field"),
        ("NOT", 3, "name of a field"),
        ("NOT NOT a=1", 4, "found NOT"),
        ("a=1 and b=2", 4, "write AND"),
        ("not a=1", 0, "write NOT"),
        ("f(a)=1", 0, "functions"),
        ('a="b', 2, "never closed"),
        ("a='b\"", 2, "never closed"),
        (r'a="b\x"', 4, "after a backslash"),
        ('a="b\\', 4, "after a backslash"),
        ('a="b*c"', 2, "only at the ends"),
        ("a=b*c", 2, "only at the ends"),
        ("a.=1", 2, "name of a field"),
        (".a=1", 0, "name of a field"),
        ("a..b=1", 2, "name of a field"),
        ('a.""=1', 2, "cannot be empty"),
        ("a=(1 OR)", 7, "expected a value"),
        ("a=(1 OR 2 AND 3)", 10, "OR alone or AND alone"),
        ("a=(1 NOT 2)", 5, "OR alone or AND alone"),
        ("a=(1 2)", 5, "OR alone or AND alone"),
        ("a=(1 OR (2 OR 3))", 8, "expected a value"),
        ("a=()", 3, "expected a value"),
        ("a=1, b=2", 3, "name of a field"),
        ("a=1; DROP", 9, "expected one of"),
        ("a=b\\c", 3, "name of a field"),
        ("a\u00a0=1", 1, "expected one of"),
        ('a="\ud800"', 3, "Unicode"),
    ],
)
def test_what_is_wrong_is_told_with_its_offset(text: str, offset: int, part: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse(text)
    assert part in caught.value.message
    assert caught.value.metadata["offset"] == str(offset)
    assert caught.value.message.startswith(f"at offset {offset}: ")
    assert caught.value.field == "filter"


def test_longest_filter() -> None:
    frame = 'a=""'
    parse(f'a="{"x" * (MAX_BYTES - len(frame))}"')
    with pytest.raises(LimitExceededError):
        parse(f'a="{"x" * (MAX_BYTES - len(frame) + 1)}"')
    with pytest.raises(LimitExceededError):
        parse(f'a="{"ü" * (MAX_BYTES // 2)}"')


def test_deepest_nesting() -> None:
    parse("(" * MAX_NESTING + "a=1" + ")" * MAX_NESTING)
    with pytest.raises(LimitExceededError) as caught:
        parse("(" * (MAX_NESTING + 1) + "a=1" + ")" * (MAX_NESTING + 1))
    assert caught.value.metadata["offset"] == str(MAX_NESTING)
    parse(" AND ".join(["(a=1)"] * MAX_TERMS))


def test_most_terms() -> None:
    parse(" OR ".join(["a=1"] * MAX_TERMS))
    with pytest.raises(LimitExceededError):
        parse(" OR ".join(["a=1"] * (MAX_TERMS + 1)))
    values = " OR ".join(["1"] * MAX_TERMS)
    parse(f"a=({values})")
    with pytest.raises(LimitExceededError):
        parse(f"a=({values} OR 1)")


def test_every_node_knows_its_offset() -> None:
    tree = parse("a=1 AND  bc = (2 OR 'x')")
    assert isinstance(tree, And)
    first, second = tree.operands
    assert isinstance(first, Restriction)
    assert isinstance(second, Restriction)
    assert (first.offset, second.offset) == (0, 9)
    assert second.comparator is Comparator.EQUALS
    assert isinstance(second.argument, ValueGroup)
    assert second.argument.offset == 14
    assert [each.offset for each in second.argument.values] == [15, 20]
