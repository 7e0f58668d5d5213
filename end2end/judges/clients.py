"""The official PyPI clients, as they are, call the API: OpenAI's, Anthropic's, and LiteLLM as a client of both formats.

Run by python.test.mjs with the URL, a key without limits, and one that may have one call at a time. Prints a line for each check that has passed.
"""

import base64
import json
import os
import sys
import threading

import anthropic
import litellm
import openai

URL, KEY, LIMITED, PIXEL = (os.environ[name] for name in ("API_URL", "API_KEY", "LIMITED_KEY", "PIXEL"))
CLAUDE, GPT = "claude-haiku-5-5", "gpt-6-luna"
SLOW = "{{words:400}}{{pace:500}}"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RESULT = "{{words:2}} 18 degrees"
IMAGE = f"data:image/png;base64,{PIXEL}"

assert base64.b64decode(PIXEL)


def user(content):
    return [{"role": "user", "content": content}]


def is_words(text):
    assert (text or "").strip() == "word1 word2", text


def passed(name):
    print("passed", name, flush=True)


def raises(kinds, call):
    """Asserts that a call raises one of the client's own errors, and returns it."""
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError(f"{kinds} was not raised")


def follow(stream):
    """Reads a stream in a thread until it ends or breaks off. Returns once its first piece has arrived."""
    begun = threading.Event()

    def read():
        try:
            for _ in stream:
                begun.set()
        except Exception:
            pass

    threading.Thread(target=read, daemon=True).start()
    assert begun.wait(120)


def with_openai():
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    tools = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
    for model in (CLAUDE, GPT):
        chat = lambda content, **more: client.chat.completions.create(model=model, messages=user(content), **more)
        chunks = list(chat("{{words:2}}", stream=True, stream_options={"include_usage": True}))
        is_words("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
        assert chunks[-1].usage.total_tokens > 0, model
        with client.responses.stream(model=model, input="{{words:2}}", store=False) as stream:
            is_words(stream.get_final_response().output_text)

        messages = user("{{tool:weather}}")
        asked = client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message
        call = asked.tool_calls[0]
        assert isinstance(json.loads(call.function.arguments)["city"], str), model
        messages += [asked, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
        is_words(client.chat.completions.create(model=model, messages=messages, tools=tools).choices[0].message.content)
        is_words(chat([{"type": "image_url", "image_url": {"url": IMAGE}}, {"type": "text", "text": "{{words:2}}"}]).choices[0].message.content)
    raises(openai.AuthenticationError, lambda: openai.OpenAI(base_url=f"{URL}/v1", api_key="sk-wrong").models.list())
    assert raises(openai.NotFoundError, lambda: client.models.retrieve("gpt-0")).param == "model"
    assert raises(openai.BadRequestError, lambda: chat("hi", n=2)).param == "n"
    raises(openai.APIError, lambda: list(chat("{{words:9}}{{break:4}}", stream=True)))
    limited = openai.OpenAI(base_url=f"{URL}/v1", api_key=LIMITED, max_retries=20)
    passed("openai")

    def retry():
        follow(limited.chat.completions.create(model=GPT, messages=user(SLOW), stream=True))
        is_words(limited.chat.completions.create(model=GPT, messages=user("{{words:2}}")).choices[0].message.content)

    def abort():
        stream = client.chat.completions.create(model=GPT, messages=user(SLOW), stream=True)
        next(iter(stream))
        stream.close()

    return retry, abort


def with_anthropic():
    client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
    tools = [{"name": "weather", "input_schema": PARAMETERS}]
    for model in (CLAUDE, GPT):
        send = lambda messages, **more: client.messages.create(model=model, max_tokens=200, messages=messages, **more)
        text = lambda message: "".join(getattr(block, "text", "") for block in message.content)
        with client.messages.stream(model=model, max_tokens=200, messages=user("{{words:2}}")) as stream:
            is_words("".join(stream.text_stream))
            assert stream.get_final_message().usage.output_tokens > 0, model

        messages = user("{{tool:weather}}")
        asked = send(messages, tools=tools)
        call = next(block for block in asked.content if block.type == "tool_use")
        assert (asked.stop_reason, type(call.input["city"])) == ("tool_use", str), model
        messages += [{"role": "assistant", "content": asked.content}, *user([{"type": "tool_result", "tool_use_id": call.id, "content": RESULT}])]
        is_words(text(send(messages, tools=tools)))
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        is_words(text(send(user([{"type": "image", "source": source}, {"type": "text", "text": "{{words:2}}"}]))))
        assert client.messages.count_tokens(model=model, messages=user("How long is this?")).input_tokens > 0
    wrong = anthropic.Anthropic(base_url=URL, api_key="sk-wrong")
    raises(anthropic.AuthenticationError, lambda: list(wrong.models.list()))
    raises(anthropic.NotFoundError, lambda: client.messages.create(model="claude-0", max_tokens=9, messages=user("hi")))
    raises(anthropic.BadRequestError, lambda: send(user("hi"), extra_body={"top_p": 7}))
    raises(anthropic.APIError, lambda: list(send(user("{{words:9}}{{break:4}}"), stream=True)))
    limited = anthropic.Anthropic(base_url=URL, api_key=LIMITED, max_retries=20)
    passed("anthropic")

    def retry():
        call = {"model": CLAUDE, "max_tokens": 900}
        follow(limited.messages.create(messages=user(SLOW), stream=True, **call))
        is_words(text(limited.messages.create(messages=user("{{words:2}}"), **call)))

    def abort():
        stream = client.messages.create(model=CLAUDE, max_tokens=900, messages=user(SLOW), stream=True)
        next(iter(stream))
        stream.close()

    return retry, abort


def with_litellm():
    litellm.suppress_debug_info = True
    formats = {f"openai/{GPT}": f"{URL}/v1", f"openai/{CLAUDE}": f"{URL}/v1", f"anthropic/{CLAUDE}": URL, f"anthropic/{GPT}": URL}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
    for model, base in formats.items():
        call = lambda messages, key=KEY, **more: litellm.completion(
            model=model, messages=messages, api_base=base, api_key=key, **{"max_tokens": 200, "max_retries": 0, **more}
        )
        chunks = list(call(user("{{words:2}}"), stream=True))
        is_words("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
        messages = user("{{tool:weather}}")
        asked = call(messages, tools=tools).choices[0].message
        assert isinstance(json.loads(asked.tool_calls[0].function.arguments)["city"], str), model
        messages += [asked.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": RESULT}]
        is_words(call(messages, tools=tools).choices[0].message.content)
        is_words(call(user([{"type": "text", "text": "{{words:2}}"}, {"type": "image_url", "image_url": {"url": IMAGE}}])).choices[0].message.content)
        raises(litellm.AuthenticationError, lambda: call(user("hi"), key="sk-wrong"))
        raises(openai.OpenAIError, lambda: list(call(user("{{words:9}}{{break:4}}"), stream=True)))
    raises(litellm.NotFoundError, lambda: litellm.completion(model="openai/gpt-0", messages=user("hi"), api_base=f"{URL}/v1", api_key=KEY))
    passed("litellm")

    def retry():
        limited = {"model": f"openai/{GPT}", "api_base": f"{URL}/v1", "api_key": LIMITED, "max_retries": 20}
        follow(litellm.completion(messages=user(SLOW), stream=True, **limited))
        is_words(litellm.completion(messages=user("{{words:2}}"), **limited).choices[0].message.content)

    return retry, None


CLIENTS = {"openai": with_openai, "anthropic": with_anthropic, "litellm": with_litellm}
for name, judge in CLIENTS.items():
    retry, abort = judge()
    # The test looks at the calls of each part before the next one begins.
    for part, run in (("retry", retry), ("abort", abort)):
        if run:
            print("begin", name, part, flush=True)
            sys.stdin.readline()
            run()
            print("end", name, part, flush=True)
            sys.stdin.readline()
