// What only a release build has: names by content, files compressed ahead, a secret of its own. Run by `./dev release`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHouse } from './house.mjs';

test('the release is served as production serves it', { timeout: 60_000 }, async () => {
  const house = await startHouse();
  const form = new URLSearchParams({ email: 'ann@example.com', password: 'correct horse battery' });
  const signedUp = await fetch(`${house.url}/sign-up`, { method: 'POST', body: form, redirect: 'manual' });
  assert.equal(signedUp.status, 303);
  const cookie = signedUp.headers.getSetCookie()[0].split(';')[0];
  const page = await (await fetch(`${house.url}/chat`, { headers: { cookie } })).text();
  const [, wasm] = page.match(/href="(\/pkg\/quotient\.[\w-]+\.wasm)"/) ?? assert.fail('the wasm has a name by its content');
  const file = await fetch(house.url + wasm, { headers: { 'accept-encoding': 'br' } });
  assert.equal(file.status, 200);
  assert.equal(file.headers.get('content-encoding'), 'br');
  assert.match(file.headers.get('cache-control'), /immutable/);
  assert.equal(file.headers.get('content-type'), 'application/wasm');
  const [, css] = page.match(/href="(\/pkg\/quotient\.[\w-]+\.css)"/) ?? assert.fail('the style has a name by its content');
  const style = await fetch(house.url + css);
  assert.match(style.headers.get('cache-control'), /immutable/);
  assert.doesNotMatch(await style.text(), /@import/, 'one file');
  assert.equal((await fetch(`${house.url}/healthz`)).status, 200);
  assert.equal(await house.stop(), 0);
});
