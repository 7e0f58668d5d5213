// Checks of a release build: hashed file names, precompressed files, the systemd unit, memory. Run by `./dev release`.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort, release, startApp, termsOf, verify } from './test-app.mjs';

// Reads the [Service] settings of the systemd unit, with its folder replaced by the one that the release was unpacked to.
function unit() {
  const lines = readFileSync(join(release, 'quotient.service'), 'utf8').replaceAll('/opt/quotient', release).split('\n');
  const of = (name) => lines.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
  return { start: of('ExecStart')[0], folder: of('WorkingDirectory')[0], env: Object.fromEntries(of('Environment').map((pair) => pair.split(/=(.*)/s).slice(0, 2))) };
}

test('the unit starts the release with only its own settings and an environment file', { timeout: 600_000 }, async () => {
  const { start, folder, env } = unit();
  assert.ok(existsSync(start), start);
  // The databases come from a running deployment, and the port is free. All other settings are the unit's.
  const app = await startApp();
  const port = await freePort();
  const file = { DATABASE_URL: app.settings.DATABASE_URL, REDIS_URL: app.settings.REDIS_URL, SECRET_KEY: app.settings.SECRET_KEY, PUBLIC_URL: `http://127.0.0.1:${port}` };
  const child = spawn(start, [], { cwd: folder, env: { ...env, ...file, LISTEN_ADDR: `127.0.0.1:${port}` }, stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = new Promise((done) => child.once('exit', done));
  while (!(await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null))?.ok) {
    assert.equal(child.exitCode, null, 'the server is running');
    await new Promise((wait) => setTimeout(wait, 50));
  }
  const page = await (await fetch(`http://127.0.0.1:${port}/pricing`)).text();
  const [, css] = page.match(/href="(\/pkg\/[^"]+\.css)"/) ?? assert.fail('the page has no stylesheet');
  assert.equal((await fetch(`http://127.0.0.1:${port}${css}`)).status, 200);
  child.kill('SIGTERM');
  assert.equal(await exited, 0);
  await app.stop();
  try {
    execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' });
  } catch {
    return;
  }
  // The unit as installed, except for its folder.
  const folderOfCopy = mkdtempSync(join(tmpdir(), 'quotient-unit-'));
  const copy = join(folderOfCopy, 'quotient.service');
  writeFileSync(copy, readFileSync(join(release, 'quotient.service'), 'utf8').replaceAll('/opt/quotient', release));
  execFileSync('systemd-analyze', ['verify', '--man=no', copy], { stdio: 'inherit' });
  rmSync(folderOfCopy, { recursive: true });
});

// Signs up a user and returns their cookie.
async function signUp(app) {
  const form = new URLSearchParams({ email: 'ann@example.com', password: 'correct horse battery', terms: await termsOf(app) });
  const signedUp = await fetch(`${app.url}/sign-up`, { method: 'POST', body: form, redirect: 'manual' });
  assert.equal(signedUp.status, 303);
  return signedUp.headers.getSetCookie()[0].split(';')[0];
}

// The smallest servers have 512 MiB. The bounds are generous, because the allocator returns memory to the kernel when it likes.
test('the release takes little memory, idle and after messages with code', { timeout: 600_000 }, async () => {
  const app = await startApp();
  const check = (when, bounds) => {
    const { resident, anonymous } = app.memory();
    console.log(`  ${when}: ${resident} MiB resident, ${anonymous} of them anonymous`);
    assert.ok(resident <= bounds.resident && anonymous <= bounds.anonymous, `at most ${JSON.stringify(bounds)} ${when}`);
  };
  check('idle', { resident: 100, anonymous: 60 });
  const cookie = await signUp(app);
  await verify(app, 'ann@example.com', cookie);
  const send = async (languages) => {
    const code = languages.map((language) => `\`\`\`${language}\nclass A<T> { get x() { return this.x ?? "a"; } } // 1\nif (a == "b") { f(x => 1.5) }\n\`\`\``);
    const body = JSON.stringify({ model: 'claude-haiku-5-5', text: `{{words:3}}\n${code.join('\n')}` });
    const turn = await fetch(`${app.url}/api/chat`, { method: 'POST', headers: { cookie, 'content-type': 'application/json' }, body });
    assert.equal(turn.status, 200);
    assert.match(await turn.text(), /event: finish/);
  };
  // The tokenizer's vocabulary is loaded; the file that it is read from counts as resident until the kernel needs the memory.
  await send(['ts']);
  check('after a message with code', { resident: 195, anonymous: 120 });
  await send(['tsx', 'js', 'py', 'rust', 'go', 'java', 'c++', 'cs', 'php', 'ruby', 'html', 'sh']);
  check('after code in 13 languages', { resident: 205, anonymous: 130 });
  assert.equal(await app.stop(), 0);
});

test('the release serves hashed and compressed files', { timeout: 600_000 }, async () => {
  const app = await startApp();
  const cookie = await signUp(app);
  const page = await (await fetch(`${app.url}/chat`, { headers: { cookie } })).text();
  const [, wasm] = page.match(/href="(\/pkg\/quotient\.[\w-]+\.wasm)"/) ?? assert.fail('the page has no wasm with a hashed name');
  const file = await fetch(app.url + wasm, { headers: { 'accept-encoding': 'br' } });
  assert.equal(file.status, 200);
  assert.equal(file.headers.get('content-encoding'), 'br');
  assert.match(file.headers.get('cache-control'), /immutable/);
  assert.equal(file.headers.get('content-type'), 'application/wasm');
  const [, css] = page.match(/href="(\/pkg\/quotient\.[\w-]+\.css)"/) ?? assert.fail('the page has no stylesheet with a hashed name');
  const style = await fetch(app.url + css);
  assert.match(style.headers.get('cache-control'), /immutable/);
  assert.doesNotMatch(await style.text(), /@import/, 'the styles are bundled into one file');
  assert.equal((await fetch(`${app.url}/healthz`)).status, 200);
  assert.equal(await app.stop(), 0);
});
