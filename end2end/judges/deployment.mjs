// A deployment whose users have API keys, behind a proxy that records when programs call.
import assert from 'node:assert/strict';
import { createServer, request as send } from 'node:http';
import { password, startApp, termsOf, verify } from '../test-app.mjs';

// A model of each provider format.
export const [CLAUDE, GPT] = ['claude-haiku-5-5', 'gpt-6-luna'];
export const MODELS = [CLAUDE, GPT];
// A PNG image of one pixel.
export const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
// A message whose answer takes 200 s, unless it is stopped. A server reads a stopped answer on for 20 s, so it never arrives at the end of this
// one just when it gives up.
export const SLOW = '{{words:400}}{{pace:500}}';

// Passes requests on to a server. `log` has each with the time it was made and answered. If a call is refused by a limit, all others are cut off:
// the ones that use the limit up.
async function startProxy(target) {
  const log = [];
  const open = new Set();
  const server = createServer((request, response) => {
    const entry = { path: request.url, at: performance.now() };
    const upstream = send(target + request.url, { method: request.method, headers: request.headers }, (answer) => {
      Object.assign(entry, { status: answer.statusCode, retryAfterMs: Number(answer.headers['retry-after-ms']), answeredAt: performance.now() });
      log.push(entry);
      response.writeHead(answer.statusCode, answer.headers);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
      if (answer.statusCode === 429) [...open].filter((other) => other !== response).forEach((other) => other.destroy());
    });
    open.add(response);
    response.on('close', () => { open.delete(response); upstream.destroy(); });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const stop = () => { server.close(); server.closeAllConnections(); };
  return { url: `http://127.0.0.1:${server.address().port}`, log, stop };
}

// Signs up a user on a plan and returns an API key of theirs.
async function createKey(app, email, plan) {
  const post = (path, form, headers) =>
    fetch(app.url + path, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual', headers });
  const made = await post('/sign-up', { email, password, terms: await termsOf(app) });
  const cookie = made.headers.getSetCookie().map((one) => one.split(';')[0]).join('; ');
  await verify(app, email, cookie);
  app.query(`update account set plan_id = '${plan}' where email = '${email}'`);
  const page = await (await post('/settings/keys', { name: 'Judge' }, { cookie })).text();
  const [key] = page.match(/sk-[a-z0-9]+-[\w-]{43}/) ?? [];
  assert.ok(key, page);
  return key;
}

// Starts a deployment. `key` belongs to a user without limits, `limited` to one who may have one call at a time.
export async function startDeployment() {
  const limits = { API_LOOP_REPEATS: '100000', API_REQUESTS_PER_MINUTE: '1000000', GLOBAL_DAILY_SPEND_USD: 'none' };
  const app = await startApp({ stripe: false, env: limits });
  app.query('update plan set requests_per_minute = 1000000, tokens_per_day = 1000000000, in_flight = 1000');
  app.query("update plan set in_flight = 1 where plan_id = 'pro'");
  const [key, limited] = [await createKey(app, 'ann@example.com', 'free'), await createKey(app, 'bob@example.com', 'pro')];
  const proxy = await startProxy(app.url);
  const count = (status) => Number(app.query(`select count(*) from ai_usage where status = '${status}'`)[0][0]);
  const until = async (isSo) => { while (!isSo()) await new Promise((wait) => setTimeout(wait, 20)); };
  return {
    app,
    url: proxy.url,
    key,
    limited,
    stopped: () => count('stopped'),
    // Waits until every call has ended and no longer counts as one in progress.
    untilSettled: () => until(() => app.query('select count(*) from turn where meter_settled_at is null')[0][0] === '0'),
    untilStopped: (calls) => until(() => count('stopped') >= calls),
    // Returns the media types of the images that the provider received last.
    images: async () => (await app.served()).at(-1).sent.at(-1).images,
    // Asserts that of the calls since an index of the log, the first was answered, the next refused by a limit, and the last answered, and that
    // each attempt waited as long as the refusal before it says.
    assertRetried: (since) => {
      const calls = proxy.log.slice(since);
      const statuses = calls.map(({ status }) => status);
      assert.ok(statuses.length >= 3 && statuses[0] === 200 && statuses.at(-1) === 200, `${statuses}`);
      assert.ok(statuses.slice(1, -1).every((status) => status === 429), `${statuses}`);
      calls.slice(1, -1).forEach(({ answeredAt, retryAfterMs }, index) => {
        const waited = calls[index + 2].at - answeredAt;
        assert.ok(retryAfterMs > 0 && waited >= retryAfterMs - 5, `waited ${waited} ms in place of ${retryAfterMs} ms`);
      });
    },
    calls: () => proxy.log.length,
    // Asserts that the ledger has exactly the complete answers that the provider billed.
    assertBooked: async () => {
      await until(() => count('pending') === 0);
      const rows = app.query(`select model, input_tokens + cache_read_tokens + cache_write_tokens, output_tokens from ai_usage
        where usage_source = 'exact' and purpose = 'api' and api_key_id is not null`).map((row) => row.join(' '));
      const served = (await app.served()).filter(({ ended }) => ended)
        .map(({ model, input, cache_read: read, cache_write: write, output }) => `${model} ${input + read + write} ${output}`);
      assert.ok(rows.length > 0);
      assert.deepEqual(rows.sort(), served.sort());
    },
    stop: async () => { proxy.stop(); await app.stop(); },
  };
}

// Reads a stream until it ends or breaks off. Resolves with its first piece.
export const follow = (stream) => new Promise((begun, failed) => {
  (async () => { for await (const piece of stream) begun(piece); })().catch(failed);
});
