// The official npm clients, as they are, call the API: OpenAI's, Anthropic's, and Vercel's `ai` with both providers. Each streams, makes a tool
// round trip, sends an image, throws its own errors, retries as long as a refusal says, and aborts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import { APICallError, generateText, isStepCount, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { z } from 'zod';
import { CLAUDE, GPT, MODELS, PIXEL, SLOW, follow, startDeployment } from './deployment.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const timeout = { timeout: 300_000 };
const user = (content) => [{ role: 'user', content }];
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
// What the fake provider answers to a tool's result.
const RESULT = '{{words:2}} 18 degrees';
const WORDS = /^word1 word2 ?$/;

let judged, openai, anthropic;
before(async () => {
  judged = await startDeployment();
  const { url, key } = judged;
  openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
});
after(async () => { await judged?.stop(); });

test('openai: chat completions are streamed and call tools', timeout, async () => {
  for (const model of MODELS) {
    const stream = await openai.chat.completions.create({
      model, messages: user('{{words:2}}'), stream: true, stream_options: { include_usage: true },
    });
    let [text, usage] = ['', null];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.match(text, WORDS, model);
    assert.ok(usage.prompt_tokens > 0 && usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, model);

    const tools = [{ type: 'function', function: { name: 'weather', description: 'The weather in a city.', parameters } }];
    const messages = user('{{tool:weather}}{{tool:weather}}');
    const asked = await openai.chat.completions.stream({ model, messages, tools }).finalChatCompletion();
    assert.equal(asked.choices[0].finish_reason, 'tool_calls', model);
    const calls = asked.choices[0].message.tool_calls;
    assert.equal(calls.length, 2, model);
    messages.push(asked.choices[0].message);
    for (const { id, function: { name, arguments: json } } of calls) {
      assert.deepEqual([name, typeof JSON.parse(json).city], ['weather', 'string'], model);
      messages.push({ role: 'tool', tool_call_id: id, content: RESULT });
    }
    const answer = await openai.chat.completions.create({ model, messages, tools });
    assert.match(answer.choices[0].message.content, WORDS, model);
  }
});

test('openai: responses are streamed and call tools', timeout, async () => {
  for (const model of MODELS) {
    const events = [];
    const stream = openai.responses.stream({ model, input: '{{words:2}}', store: false });
    stream.on('event', ({ type }) => events.push(type));
    const streamed = await stream.finalResponse();
    assert.match(streamed.output_text, WORDS, model);
    assert.deepEqual([events[0], events.at(-1)], ['response.created', 'response.completed'], model);
    assert.ok(streamed.usage.total_tokens > 0, model);

    const tools = [{ type: 'function', name: 'weather', parameters, strict: false }];
    const input = user('{{tool:weather}}');
    const asked = await openai.responses.create({ model, input, tools, store: false });
    const call = asked.output.find(({ type }) => type === 'function_call');
    assert.equal(typeof JSON.parse(call.arguments).city, 'string', model);
    const result = { type: 'function_call_output', call_id: call.call_id, output: RESULT };
    const answer = await openai.responses.create({ model, input: [...input, ...asked.output, result], tools, store: false });
    assert.match(answer.output_text, WORDS, model);
  }
});

test('anthropic: messages are streamed and call tools', timeout, async () => {
  for (const model of MODELS) {
    const stream = anthropic.messages.stream({ model, max_tokens: 200, messages: user('{{words:2}}') });
    let text = '';
    stream.on('text', (piece) => { text += piece; });
    const message = await stream.finalMessage();
    assert.match(text, WORDS, model);
    assert.deepEqual([message.stop_reason, message.usage.output_tokens > 0], ['end_turn', true], model);

    const tools = [{ name: 'weather', input_schema: parameters }];
    const messages = user('{{tool:weather}}');
    const asked = await anthropic.messages.create({ model, max_tokens: 200, messages, tools });
    const call = asked.content.find(({ type }) => type === 'tool_use');
    assert.deepEqual([asked.stop_reason, typeof call.input.city], ['tool_use', 'string'], model);
    messages.push({ role: 'assistant', content: asked.content }, ...user([{ type: 'tool_result', tool_use_id: call.id, content: RESULT }]));
    const answer = await anthropic.messages.create({ model, max_tokens: 200, messages, tools });
    assert.match(answer.content.map((block) => block.text ?? '').join(''), WORDS, model);

    const count = await anthropic.messages.countTokens({ model, messages: user('How long is this?') });
    assert.ok(count.input_tokens > 0, model);
  }
  const listed = [];
  for await (const model of anthropic.models.list()) listed.push(model.id);
  for await (const model of openai.models.list()) assert.ok(listed.includes(model.id));
  assert.ok(listed.includes(CLAUDE) && listed.includes(GPT));
});

const clients = (models = MODELS) => {
  const { url, key } = judged;
  const vercel = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
  const claude = createAnthropic({ baseURL: `${url}/v1`, apiKey: key });
  // Responses refer to stored items unless `store` is false.
  const providerOptions = { openai: { store: false } };
  return models.flatMap((model) => [
    { name: `chat ${model}`, model: vercel.chat(model) },
    { name: `responses ${model}`, model: vercel.responses(model), providerOptions },
    { name: `messages ${model}`, model: claude(model), maxOutputTokens: 200 },
  ]);
};

test('ai: both providers stream and call tools', timeout, async () => {
  for (const { name, ...call } of clients()) {
    const streamed = streamText({ ...call, prompt: '{{words:2}}', maxRetries: 0 });
    let text = '';
    for await (const piece of streamed.textStream) text += piece;
    assert.match(text, WORDS, name);
    assert.ok((await streamed.usage).outputTokens > 0, name);

    const cities = [];
    const weather = tool({
      description: 'The weather in a city.',
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => { cities.push(city); return RESULT; },
    });
    const answer = await generateText({
      ...call, prompt: '{{tool:weather}}', tools: { weather }, stopWhen: isStepCount(3), maxRetries: 0,
    });
    assert.match(answer.text, WORDS, name);
    assert.deepEqual([cities.length, answer.steps.length], [1, 2], name);
  }
});

test('images arrive', timeout, async () => {
  const url = `data:image/png;base64,${PIXEL}`;
  for (const model of MODELS) {
    const text = '{{words:2}}';
    for (const send of [
      () => openai.chat.completions.create({ model, messages: user([{ type: 'image_url', image_url: { url } }, { type: 'text', text }]) }),
      () => openai.responses.create({ model, store: false, input: user([{ type: 'input_image', image_url: url }, { type: 'input_text', text }]) }),
      () => anthropic.messages.create({
        model, max_tokens: 200,
        messages: user([{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } }, { type: 'text', text }]),
      }),
    ]) {
      await send();
      assert.deepEqual(await judged.images(), ['image/png'], `${model} ${send}`);
    }
  }
  for (const { name, ...call } of clients()) {
    const image = Buffer.from(PIXEL, 'base64');
    await generateText({ ...call, messages: user([{ type: 'image', image, mediaType: 'image/png' }, { type: 'text', text: '{{words:2}}' }]) });
    assert.deepEqual(await judged.images(), ['image/png'], name);
  }
});

test("errors are the clients' own", timeout, async () => {
  const { url } = judged;
  const messages = user('{{words:2}}');
  const chat = (body, client = openai) => client.chat.completions.create({ model: GPT, messages, ...body });
  const message = (body, client = anthropic) => client.messages.create({ model: CLAUDE, max_tokens: 200, messages, ...body });
  await assert.rejects(chat({}, new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-wrong' })), OpenAI.AuthenticationError);
  await assert.rejects(message({}, new Anthropic({ baseURL: url, apiKey: 'sk-wrong' })), Anthropic.AuthenticationError);
  await assert.rejects(chat({ model: 'gpt-0' }), (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found');
  await assert.rejects(message({ model: 'claude-0' }), (error) => error instanceof Anthropic.NotFoundError && Boolean(error.requestID));
  await assert.rejects(chat({ n: 3 }), (error) => error instanceof OpenAI.BadRequestError && error.param === 'n');
  await assert.rejects(openai.responses.create({ model: GPT, input: 'hi', background: true }), OpenAI.BadRequestError);
  await assert.rejects(message({ max_tokens: 0 }), Anthropic.BadRequestError);
  await assert.rejects(chat({ model: 'claude-sonnet-5-5' }), (error) => error instanceof OpenAI.APIError && error.status === 402);
  for (const { name, ...call } of clients(['unknown'])) {
    await assert.rejects(generateText({ ...call, prompt: 'hi', maxRetries: 0 }),
      (error) => APICallError.isInstance(error) && error.statusCode === 404 && /unknown/.test(error.message), name);
  }
  // A stream that breaks off is an error, and not a short answer.
  const broken = user('{{words:9}}{{break:4}}');
  const read = async (stream) => { for await (const piece of await stream) assert.ok(piece); };
  await assert.rejects(read(openai.chat.completions.create({ model: GPT, messages: broken, stream: true })), OpenAI.APIError);
  await assert.rejects(read(openai.responses.create({ model: GPT, input: broken, stream: true, store: false })), OpenAI.APIError);
  await assert.rejects(read(anthropic.messages.create({ model: CLAUDE, max_tokens: 200, messages: broken, stream: true })), Anthropic.APIError);
});

test('a refusal is retried when it says, and then succeeds', timeout, async () => {
  const { url, limited: apiKey } = judged;
  const retried = { apiKey, maxRetries: 20 };
  const [gpt, claude] = [new OpenAI({ baseURL: `${url}/v1`, ...retried }), new Anthropic({ baseURL: url, ...retried })];
  const vercel = createOpenAI({ baseURL: `${url}/v1`, apiKey }).chat(GPT);
  const chat = (text, stream) => gpt.chat.completions.create({ model: GPT, messages: user(text), stream });
  const message = (text, stream) => claude.messages.create({ model: CLAUDE, max_tokens: 900, messages: user(text), stream });
  for (const [name, hold, ask] of [
    ['openai', () => chat(SLOW, true), async () => (await chat('{{words:2}}', false)).choices[0].message.content],
    ['anthropic', () => message(SLOW, true), async () => (await message('{{words:2}}', false)).content[0].text],
    ['ai', () => chat(SLOW, true), async () => (await generateText({ model: vercel, prompt: '{{words:2}}', maxRetries: 20 })).text],
  ]) {
    await judged.untilSettled();
    const since = judged.calls();
    await follow(await hold());
    assert.match(await ask(), WORDS, name);
    judged.assertRetried(since);
  }
});

test('an aborted call is stopped', timeout, async () => {
  const stopped = judged.stopped();
  const chat = await openai.chat.completions.create({ model: GPT, messages: user(SLOW), stream: true });
  await follow(chat);
  chat.controller.abort();
  const message = anthropic.messages.stream({ model: CLAUDE, max_tokens: 900, messages: user(SLOW) });
  message.on('abort', () => {});
  await follow(message);
  message.abort();
  const abort = new AbortController();
  const vercel = createOpenAI({ baseURL: `${judged.url}/v1`, apiKey: judged.key });
  const streamed = streamText({ model: vercel.chat(CLAUDE), prompt: SLOW, abortSignal: abort.signal, onError: () => {} });
  await follow(streamed.textStream);
  abort.abort();
  await judged.untilStopped(stopped + 3);
});

test('the ledger is the bill', timeout, () => judged.assertBooked());
