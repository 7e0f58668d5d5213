"""What the API's requests can't be generated without: a model that exists, and no errors in a row, which are refused as a loop."""

import itertools
import json
import os
import urllib.request

import schemathesis

MODELS = itertools.cycle(["claude-haiku-5-5", "gpt-6-luna"])
CALLS = itertools.count(1)


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        return {**body, "model": next(MODELS)}
    return body


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a call that succeeds before each tenth one."""
    number = next(CALLS)
    if number % 10:
        return
    body = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "{{words:1}} %d" % number}]}
    headers = {"x-api-key": os.environ["API_KEY"], "content-type": "application/json"}
    request = urllib.request.Request(f"{os.environ['API_URL']}/v1/messages", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        response.read()
