// Streaming against a provider mock by a third party (aimock): both wire formats; complete, truncated and refused responses.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LLMock } from '@copilotkit/aimock';
import { startApp, termsOf, verify } from './test-app.mjs';

const TEXT = 'Grüße an alle, 世界が待っている 🦀, and a few plain words to make it long enough for several pieces.';
let mock, app, cookie;

before(async () => {
  mock = new LLMock({ port: 0, host: '127.0.0.1', chunkSize: 7, latency: 0 });
  mock.onMessage('whole', { content: TEXT });
  mock.onMessage('cut', { content: TEXT }, { truncateAfterChunks: 4, latency: 20 });
  mock.onMessage('refuse', { error: { message: 'no', type: 'invalid_request_error' }, status: 400 });
  await mock.start();
  app = await startApp({ stripe: false, providerAt: mock.url });
  const form = new URLSearchParams({ email: 'ann@example.com', password: 'correct horse battery', terms: await termsOf(app) });
  const made = await fetch(`${app.url}/sign-up`, { method: 'POST', body: form, redirect: 'manual' });
  cookie = made.headers.get('set-cookie').split(';')[0];
  await verify(app, 'ann@example.com', cookie);
});
after(async () => {
  await app?.stop();
  await mock?.stop();
});

async function ask(model, text) {
  const headers = { cookie, 'content-type': 'application/json' };
  const response = await fetch(`${app.url}/api/chat`, { method: 'POST', headers, body: JSON.stringify({ model, text }) });
  if (!response.ok) return { status: response.status, problem: (await response.json()).problem };
  const events = (await response.text()).split('\n\n').filter((part) => part.startsWith('id:') || part.startsWith('event:')).map((part) => {
    const field = (name) => part.split('\n').find((line) => line.startsWith(`${name}:`)).slice(name.length + 1).trim();
    return { id: Number(field('id')), name: field('event'), data: JSON.parse(field('data')) };
  });
  return { status: 200, events, received: events.filter(({ name }) => name === 'delta').map(({ data }) => data.text).join('') };
}

// Waits for the last ledger row, which may become final after the response has ended.
async function row() {
  for (;;) {
    const [found] = app.query("select status, usage_source, input_tokens > 0, output_tokens > 0 from ai_usage order by created_at desc limit 1");
    if (found[0] !== 'pending') return found;
    await new Promise((wait) => setTimeout(wait, 20));
  }
}

for (const model of ['claude-haiku-5-5', 'gpt-6-luna']) {
  test(`${model}: a response is complete, numbered and recorded`, async () => {
    const { events, received } = await ask(model, 'whole');
    assert.equal(received, TEXT);
    assert.deepEqual(events.map(({ id }) => id), events.map((_, n) => n + 1));
    assert.equal(events.at(-1).data.outcome, 'finished');
    assert.equal((await row())[0], 'finished');
  });

  test(`${model}: a truncated stream is kept, marked and counted as an estimate`, async () => {
    const { events, received } = await ask(model, 'cut');
    assert.ok(TEXT.startsWith(received) && received.length < TEXT.length, received);
    assert.equal(events.at(-1).name, 'failed');
    // The model may have reasoned before its stream broke off, so all that was held for output is booked.
    assert.deepEqual(await row(), ['failed', 'estimated', 't', 't']);
    assert.equal(app.query("select body from message where role = 'assistant' order by created_at desc limit 1")[0]?.[0] ?? '', received);
  });

  test(`${model}: a refusal costs nothing`, async () => {
    const { status, problem } = await ask(model, 'refuse');
    assert.equal(status, 502);
    assert.equal(problem.kind, 'model_failed');
    assert.deepEqual(await row(), ['failed', 'exact', 'f', 'f']);
  });
}
