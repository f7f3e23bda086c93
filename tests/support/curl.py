"""Stands in for curl where it is not installed, for the few options that the READMEs use.

An option that it does not know ends it, so that a README cannot use what was not run.
"""

from __future__ import annotations

import argparse
import sys

import httpx2 as httpx


def main() -> None:
    """Make one request and print the reply's body as it comes."""
    parser = argparse.ArgumentParser("curl")
    parser.add_argument("-s", action="store_true", help="say nothing else")
    parser.add_argument("-N", action="store_true", help="do not buffer")
    parser.add_argument("-H", action="append", default=[], help="a header, `name: value`")
    parser.add_argument("-d", help="a body to POST")
    parser.add_argument("--json", help="a body of JSON to POST")
    parser.add_argument("url")
    options = parser.parse_args()
    url = options.url if "://" in options.url else f"http://{options.url}"
    body = options.json or options.d
    kind = "application/json" if options.json else "application/x-www-form-urlencoded"
    headers = {"content-type": kind} if body else {}
    headers |= dict(header.lower().split(": ", 1) for header in options.H)
    method = "POST" if body else "GET"
    with httpx.stream(method, url, headers=headers, content=body, timeout=60) as reply:
        for part in reply.iter_bytes():
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
