"""Finds C++ functions and their lengths without a compiler, for code formatted as this project's.

SPDX-License-Identifier: MIT

A body is a brace pair whose head (the text since the last ';', '{' or '}') looks like a function: it ends, after
qualifiers, in a parenthesis, or in a trailing return type behind one. Control statements, lambdas, initialisers,
classes and namespaces are not. The functions inside a class are found; lambdas count towards the function around them.
"""

import re
from typing import NamedTuple

_TOKENS = re.compile(
    r'(?P<comment>//[^\n]*|/\*.*?\*/)'
    r'|(?P<raw>R"(?P<delimiter>[^(\s]*)\(.*?\)(?P=delimiter)")'
    r"|(?P<text>\"(?:\\.|[^\"\\\n])*\"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+')",
    re.DOTALL,
)
_CONTROL = re.compile(r"^\s*(?:\}\s*)?(?:else\s+)?(?:if|for|while|switch|catch|do|else|try|return)\b")
_SCOPE = re.compile(r"\b(?:namespace|class|struct|union|enum|concept)\b[^()]*$|\bextern\s*$")
_FUNCTION = re.compile(
    r"\)\s*(?:(?:const|noexcept|override|final|mutable|&&?)\s*)*(?:->[^;{}]*|requires\b[^;{}]*|:[^:][^;]*)?$", re.DOTALL)
_MEMBER_INITIALISER = re.compile(r"\)\s*(?:noexcept\s*)?:\s[^;?]*[\w>]$", re.DOTALL)
_MACRO = re.compile(r"^\s*[A-Z][A-Z_0-9]+\s*\(")


class Function(NamedTuple):
    """A function's first line, the text before its body and its lines of code."""

    line: int
    head: str
    lines: int

    @property
    def is_test_case(self):
        """A macro such as TEST_CASE or SUBCASE, not a function that someone calls."""
        return bool(_MACRO.match(self.head))


def blank_out(source):
    """The source with comments, strings and preprocessor lines replaced by blanks of the same shape."""
    def blank(match):
        keep = '"' if match.group("text") or match.group("raw") else " "
        return re.sub(r"[^\n]", keep, match.group(0))

    text = _TOKENS.sub(blank, source)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text,
                  flags=re.MULTILINE)


def looks_like_function(head):
    """Whether the text before an opening brace begins a function or a test case."""
    if _CONTROL.match(head) or _SCOPE.search(head):
        return False
    plain = re.sub(r"\btemplate\s*<[^{}]*?>\s*(?=[\w:\[~])", " ", head, count=1)
    last_assignment = re.search(r"(?<![=!<>+\-*/%&|^])=(?!=)\s*[^()]*$", plain)
    lambda_head = re.search(r"\[[^\[\]]*\]\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*(?:mutable|noexcept|->[^{}]*)?\s*$", plain)
    if last_assignment or (lambda_head and not re.match(r"\s*\[\[", plain)):
        return False
    return bool(_FUNCTION.search(plain) or _MACRO.match(plain))


def is_expression(head):
    """Whether a brace belongs to an expression: a default argument `= {}` or a member initialiser `: a{1}`."""
    return head.count("(") > head.count(")") or bool(_MEMBER_INITIALISER.search(head))


def functions(source):
    """Every outermost function of a C++ source; a class inside a function counts towards that function."""
    text = blank_out(source)
    found, open_braces, head_start, body = [], [], 0, None
    for at, character in enumerate(text):
        if character == "{":
            head = text[head_start:at]
            expression = is_expression(head)
            if body is None and not expression and looks_like_function(head):
                body = (len(open_braces), at - len(head.lstrip()), " ".join(source[at - len(head.lstrip()):at].split()))
            open_braces.append(head_start if expression else None)
            head_start = at + 1
        elif character == "}" and open_braces:
            outer_head = open_braces.pop()
            if body is not None and len(open_braces) == body[0]:
                depth, start, head = body
                found.append(Function(text.count("\n", 0, start) + 1, head, code_lines(text[start:at + 1])))
                body = None
            head_start = at + 1 if outer_head is None else outer_head
        elif character == ";" and text.count("(", head_start, at) <= text.count(")", head_start, at):
            head_start = at + 1
    return found


def code_lines(text):
    """Lines that hold anything, comments being blanked out already."""
    return sum(1 for line in text.splitlines() if line.strip())
