// A deployment for browser tests: the fake provider, a new database, and the server that `./dev up` runs.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { randomBytes, randomInt } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const shots = join(root, 'end2end/shots');
mkdirSync(shots, { recursive: true });

// The unpacked release to test. Unset for the development build.
export const release = process.env.QUOTIENT_RELEASE;
const binary = release ? join(release, 'bin/quotient') : join(root, 'target/debug/quotient');
const site = release ? join(release, 'site') : join(root, 'target/site');

// URLs of the databases without their name. The tables belong to the owner; the server connects as a role that owns nothing.
const withoutName = (url) => url?.replace(/\/[^/]*$/, '');
const databases = withoutName(process.env.DATABASE_URL);
const owner = withoutName(process.env.MIGRATE_DATABASE_URL ?? process.env.DATABASE_URL);

// Returns a free port from 11000 to 19999, for a program that can't choose one itself. By default the kernel uses none of these for port 0 and
// for outgoing connections, so nothing takes the port before the program listens. Test files, which run side by side, begin at random ports.
let portIndex = randomInt(9_000);
export async function freePort() {
  for (;;) {
    portIndex = (portIndex + 1) % 9_000;
    const port = 11_000 + portIndex;
    const isFree = await new Promise((done) => {
      const server = createServer().once('error', () => done(false));
      server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
    if (isFree) return port;
  }
}

// Runs a query and returns its rows as arrays of strings.
const psql = (url, sql) => execFileSync('psql', [url, '-XAtq', '-F', '\t', '-c', sql], { encoding: 'utf8' })
  .trim().split('\n').filter(Boolean).map((line) => line.split('\t'));

// Starts a fake and returns its process and URL.
export async function startFake(...args) {
  const child = spawn(join(root, 'target/debug/fakes'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((done) => createInterface({ input: child.stdout }).once('line', done));
  return { child, url };
}

// Creates a migrated database and returns its name. Deployments that this process and its children start from now on copy it.
export function createTemplate() {
  const name = `end2end_template_${randomBytes(6).toString('hex')}`;
  psql(`${owner}/postgres`, `create database ${name}`);
  const settings = { DATABASE_URL: `${databases}/${name}`, MIGRATE_DATABASE_URL: `${owner}/${name}`, RUST_LOG: 'warn' };
  execFileSync(binary, ['migrate'], { env: { ...process.env, ...settings } });
  process.env.END2END_TEMPLATE = name;
  return name;
}

export const dropDatabase = (name) => psql(`${owner}/postgres`, `drop database ${name} with (force)`);

// Starts a deployment. With `provider: false` no key is set, so the demo model answers. With `stripe: false` no plans are sold.
// `host` is a name of this machine, and `port` one that is free.
export async function startApp({ provider = true, stripe = true, providerAt, host = '127.0.0.1', port, env = {} } = {}) {
  const name = `end2end_${randomBytes(6).toString('hex')}`;
  psql(`${owner}/postgres`, `create database ${name} template ${process.env.END2END_TEMPLATE ?? 'template1'}`);
  const children = [];
  // With `providerAt`, the provider at that URL is used instead of the fake.
  let providerUrl = providerAt;
  if (provider && !providerAt) {
    const fake = await startFake('provider', '127.0.0.1:0');
    children.push(fake.child);
    providerUrl = fake.url;
  }
  port ??= await freePort();
  const url = `http://${host}:${port}`;
  let stripeUrl;
  if (stripe) {
    const fake = await startFake('stripe', '127.0.0.1:0', `${url}/stripe/webhook`);
    children.push(fake.child);
    stripeUrl = fake.url;
  }
  const settings = {
    DATABASE_URL: `${databases}/${name}`,
    MIGRATE_DATABASE_URL: `${owner}/${name}`,
    PUBLIC_URL: url,
    LISTEN_ADDR: `127.0.0.1:${port}`,
    SECRET_KEY: randomBytes(32).toString('hex'),
    SITE_ROOT: site,
    ADMIN_EMAILS: 'owner@example.com',
    RUST_LOG: 'warn,stripe=error',
    // Stories about titles set it: each is a call that others would count.
    TITLES: 'text',
    ...(provider && {
      ANTHROPIC_API_KEY: 'test-key', ANTHROPIC_BASE_URL: providerUrl,
      OPENAI_API_KEY: 'test-key', OPENAI_BASE_URL: `${providerUrl}/v1`,
    }),
    ...(stripe && { STRIPE_SECRET_KEY: 'sk_test_fake', STRIPE_WEBHOOK_SECRET: 'whsec_fake', STRIPE_BASE_URL: stripeUrl }),
    ...env,
  };
  const run = (...args) => execFileSync(binary, args, { env: { ...process.env, ...settings }, encoding: 'utf8' });
  if (stripe) run('plans', 'push');
  const serve = async (more, at) => {
    const server = spawn(binary, [], { env: { ...process.env, ...settings, ...more }, stdio: ['ignore', 'ignore', 'inherit'] });
    children.push(server);
    for (let tries = 0; ; tries += 1) {
      const ready = await fetch(`${at}/readyz`).catch(() => null);
      if (ready?.ok) return server;
      if (tries > 2_400) throw new Error('the server is not ready');
      await new Promise((wait) => setTimeout(wait, 50));
    }
  };
  const server = await serve({}, url);
  return {
    url,
    settings: { ...settings, REDIS_URL: process.env.REDIS_URL },
    // Starts another server of the same deployment and returns its URL.
    startSecond: async () => {
      const at = `http://127.0.0.1:${await freePort()}`;
      await serve({ LISTEN_ADDR: at.slice('http://'.length) }, at);
      return at;
    },
    // Returns the server's memory in MiB: all that is resident, and what of it the kernel can't drop.
    memory: () => {
      const rollup = readFileSync(`/proc/${server.pid}/smaps_rollup`, 'utf8');
      const mib = (name) => Math.round(Number(rollup.match(new RegExp(`^${name}: +(\\d+) kB`, 'm'))[1]) / 1024);
      return { resident: mib('Rss'), anonymous: mib('Anonymous') };
    },
    run,
    query: (sql) => psql(settings.MIGRATE_DATABASE_URL, sql),
    served: async () => (await fetch(`${providerUrl}/journal`)).json(),
    pace: (ms) => fetch(`${providerUrl}/pace/${ms}`, { method: 'POST' }),
    stripeUrl,
    // Triggers what happens outside the API at Stripe: the clock, cards, disputes.
    stripe: (path, form) => fetch(`${stripeUrl}/_control/${path}`, { method: 'POST', body: new URLSearchParams(form) }),
    release: () => fetch(`${providerUrl}/release`, { method: 'POST' }),
    // Stops the server with SIGTERM and returns its exit code.
    stop: async () => {
      const exited = new Promise((done) => server.once('exit', done));
      server.kill('SIGTERM');
      const code = await exited;
      // Postgres waits only a few seconds for the last connections to a dropped database.
      await Promise.all(children.filter((child) => child.exitCode === null && child.signalCode === null).map((child) => {
        const ended = new Promise((done) => child.once('exit', done));
        child.kill();
        return ended;
      }));
      dropDatabase(name);
      return code;
    },
  };
}

// A provider in Anthropic's format that sends what the test tells it to. `next` returns the next call: `send` streams text, `end` completes
// the response. `count` is the number of calls so far.
export async function startTypist() {
  const calls = [];
  const waiting = [];
  let count = 0;
  const server = createHttpServer((request, response) => {
    if (!request.url.endsWith('/messages')) {
      response.writeHead(404).end();
      return;
    }
    request.resume();
    count += 1;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = (data) => response.write(`event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`);
    event({ type: 'message_start', message: { id: `msg_${count}`, usage: { input_tokens: 20, output_tokens: 1 } } });
    event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
    let sent = 0;
    const call = {
      send: (text) => {
        sent += text.length;
        event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
      },
      end: () => {
        event({ type: 'content_block_stop', index: 0 });
        event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: Math.ceil(sent / 4) + 1 } });
        event({ type: 'message_stop' });
        response.end();
      },
    };
    (waiting.shift() ?? ((made) => calls.push(made)))(call);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    next: () => (calls.length ? Promise.resolve(calls.shift()) : new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error('no call arrived')), 120_000);
      waiting.push((made) => { clearTimeout(late); done(made); });
    })),
    count: () => count,
    stop: () => { server.close(); server.closeAllConnections(); },
  };
}

// A TCP load balancer. `use` selects the server for new connections and breaks existing ones. `cut` breaks all connections and refuses new
// ones until `use` is called.
export async function startBalancer(...targets) {
  let target = 0;
  const open = new Set();
  const server = createServer((client) => {
    if (target === null) {
      client.on('error', () => {});
      client.destroy();
      return;
    }
    const { port } = new URL(targets[target]);
    const upstream = connect(Number(port), '127.0.0.1');
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => { open.delete(one); other.destroy(); });
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    use: (n) => {
      target = n;
      open.forEach((socket) => socket.destroy());
    },
    cut: () => {
      target = null;
      open.forEach((socket) => socket.destroy());
    },
    stop: () => { server.close(); open.forEach((socket) => socket.destroy()); },
  };
}

// What Chromium reports if a page hasn't used its preloaded program some seconds after it was loaded, as on a busy machine: the program is run
// once the page is idle. That it runs at all is what `woken` waits for.
const UNUSED_YET = /^The resource \S+\.wasm was preloaded using link preload but not used within a few seconds/;

// Starts the system's Chromium. Pages collect console and policy errors in `complaints`, unless `quiet`.
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--font-render-hinting=none'],
  });
  const complaints = [];
  return {
    complaints,
    // Opens a page in a new browser context, without cookies.
    visitor: async ({ quiet = false, ...options } = {}) => {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
      // A generous timeout, so that tests don't fail on a busy machine.
      context.setDefaultTimeout(120_000);
      const page = await context.newPage();
      if (quiet) return page;
      page.on('console', (message) => {
        // Chromium reports every response with an error status. Tests check refusals themselves.
        const expected = message.text().startsWith('Failed to load resource: the server responded with a status of')
          || UNUSED_YET.test(message.text());
        if (['error', 'warning'].includes(message.type()) && !expected) complaints.push(`${page.url()}: ${message.text()}`);
      });
      page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error}`));
      return page;
    },
    stop: async () => {
      await browser.close();
    },
  };
}

export const password = 'correct horse battery';

// Waits for a mail whose subject begins so, as /dev/mail shows queued mails, and returns its text and link.
export async function mailTo(app, email, subject) {
  for (;;) {
    const [, ...articles] = (await (await fetch(`${app.url}/dev/mail`)).text()).split('<article>');
    const mails = articles.map((article) => {
      const part = (from, to) => article.split(from)[1].split(to)[0].replaceAll('&#38;', '&').replaceAll('&amp;', '&');
      const text = part('<pre>', '</pre>');
      return { to: part('<p>To ', '</p>'), subject: part('<h2>', '</h2>'), text, link: text.match(/https?:\S+/)?.[0] };
    });
    const mail = mails.find(({ to, subject: found }) => to === email && found.startsWith(subject));
    if (mail) return mail;
    await new Promise((wait) => setTimeout(wait, 50));
  }
}

// Returns the cookies of a page's browser, as a request sends them.
export const cookiesOf = async (page, app) =>
  (await page.context().cookies(app.url)).map(({ name, value }) => `${name}=${value}`).join('; ');

// Verifies a user's address by the link in their mail, in the browser with these cookies: opened elsewhere, it ends the sessions of whoever
// created the account. A release has no /dev/mail.
export async function verify(app, email, cookie) {
  if (release) {
    app.query(`update account set email_verified_at = now() where email = '${email}'`);
    return;
  }
  const { link } = await mailTo(app, email, 'Confirm your email address');
  const token = new URL(link).searchParams.get('token');
  const body = new URLSearchParams({ token });
  const done = await fetch(`${app.url}/verify`, { method: 'POST', headers: { cookie }, body, redirect: 'manual' });
  assert.equal(done.status, 303, email);
}

// Signs up a user with the form, verifies their address and opens the chat.
export async function signUpByForm(page, app, email, name = '') {
  await signUpUnverified(page, app, email, name, '/usage');
  await verify(app, email, await cookiesOf(page, app));
  await page.goto(`${app.url}/chat`);
}

// The version of the terms that the sign-up form of an app has.
export async function termsOf(app) {
  const page = await (await fetch(`${app.url}/sign-up`)).text();
  const [, terms] = page.match(/name="terms" value="([\d-]+)"/) ?? assert.fail('the form has no version of the terms');
  return terms;
}

// Does the same with a request of the page's browser, which is faster.
export async function signUp(page, app, email, name = '') {
  const form = { email, name, password, terms: await termsOf(app) };
  const done = await page.context().request.post(`${app.url}/sign-up`, { form, maxRedirects: 0 });
  assert.equal(done.status(), 303, email);
  await verify(app, email, await cookiesOf(page, app));
  await page.goto(`${app.url}/chat`);
}

// Signs up a user with the form. They then see the page `next`.
export async function signUpUnverified(page, app, email, name = '', next = '/chat') {
  await page.goto(`${app.url}/sign-up?next=${encodeURIComponent(next)}`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.waitForURL(`**${next}`);
}

// Waits until the chat is hydrated.
export const woken = (page) => page.locator('#composer[data-ready]').waitFor();

// Adds messages before the first one of a conversation, "Message number 0" and so on, each with the same further text.
export function addOlderMessages(app, conversation, count, text = '') {
  const id = (kind, n) => `('01800000-0000-7000-${kind}-' || lpad(to_hex(${n}), 12, '0'))::uuid`;
  app.query(`insert into message (message_id, parent_id, conversation_id, turn_id, role, body, status, created_at)
    select ${id('8000', 'n')}, case when n > 0 then ${id('8000', 'n - 1')} end, '${conversation}', ${id('9000', 'n / 2')},
      case n % 2 when 0 then 'user' else 'assistant' end, 'Message number ' || n || '${text}', 'finished', now() - interval '1 day'
    from generate_series(0, ${count - 1}) n`);
  app.query(`update message set parent_id = ${id('8000', count - 1)}
    where conversation_id = '${conversation}' and parent_id is null and message_id <> ${id('8000', 0)}`);
}

// Waits until a page has scrolled to the end of the transcript, as it does in the frame after it was opened or has changed.
export const atEnd = (page) => page.waitForFunction(() => {
  const { scrollHeight, scrollTop, clientHeight } = document.querySelector('#transcript');
  return scrollTop > 0 && scrollHeight - scrollTop - clientHeight <= 2;
});

// Scrolls an element to each of these places, from its start or, if negative, from its end, and waits until the page has handled it.
export async function scroll(element, places) {
  for (const place of places) {
    await element.evaluate((scrolled, to) => new Promise((done) => {
      scrolled.addEventListener('scroll', () => requestAnimationFrame(() => setTimeout(done)), { once: true });
      scrolled.scrollTop = to < 0 ? scrolled.scrollHeight - scrolled.clientHeight + to : to;
    }), place);
  }
}

// Stops a page's clock: from now on its timers fire only when the test moves the clock, so nothing happens in it without an event.
export async function stopClock(page) {
  await page.clock.install();
  // A time that isn't over before it arrives there, on the busiest machine.
  await page.clock.pauseAt(Date.now() + 60_000);
}

// Records the texts that appear in an element from now on, because some of them disappear again after a moment.
export const recordTexts = (page, selector) => page.evaluate((within) => {
  window.texts = [];
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const element = target instanceof Element ? target : target.parentElement;
      if (element?.checkVisibility()) window.texts.push(element.textContent);
    }
  }).observe(document.querySelector(within), { childList: true, characterData: true, subtree: true });
}, selector);

// Waits until one of the recorded texts contains this one.
export const appeared = (page, text) => page.waitForFunction((part) => window.texts.some((one) => one.includes(part)), text);

export async function send(page, text) {
  await page.locator('#question').fill(text);
  await page.locator('#question').press('Enter');
}

const AXE = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');
// Only violations are described, and only media are loaded for rules: no rule that is on by default needs the style sheets.
const AXE_OPTIONS = { resultTypes: ['violations'], preload: { assets: ['media'] } };

// Asserts that axe finds nothing on the page in either theme, and that it isn't too wide for any device. Leaves it in the light theme.
export async function inspect(page) {
  // A page may already show what a test waited for before its style sheets have arrived.
  await page.waitForLoadState('load');
  await page.evaluate(AXE);
  for (const colorScheme of ['dark', 'light']) {
    // With reduced motion, colors change at once.
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const violations = await page.evaluate(async (options) => (await window.axe.run(document, options)).violations, AXE_OPTIONS);
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target + ' ' + node.failureSummary).join('; ')}`);
    assert.deepEqual(found, [], `${page.url()} ${colorScheme}`);
  }
  for (const width of [390, 768, 1600, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `${page.url()} is ${over} px too wide at ${width}`);
  }
}

// Returns the interactive elements of a page that the Tab key doesn't reach, with all details elements open.
export async function unreached(page) {
  const actions = await page.evaluate(() => {
    document.querySelectorAll('details').forEach((folded) => { folded.open = true; });
    const all = [...document.querySelectorAll('a[href], button, summary, input:not([type=hidden]), select, textarea')];
    const seen = all.filter((element) => element.checkVisibility({ visibilityProperty: true }));
    seen.forEach((element, index) => { element.dataset.index = index; });
    window.reached = new Set();
    document.addEventListener('focusin', ({ target }) => window.reached.add(target.dataset.index));
    return seen.map((element) => element.outerHTML.slice(0, 120));
  });
  let missing = actions;
  // A date field takes four stops, and the focus wraps around after the last element.
  for (let tabs = actions.length * 2 + 20; tabs > 0 && missing.length > 0;) {
    const stops = Math.min(tabs, missing.length);
    for (let stop = 0; stop < stops; stop += 1) await page.keyboard.press('Tab');
    tabs -= stops;
    const reached = new Set(await page.evaluate(() => [...window.reached]));
    missing = actions.filter((_, index) => !reached.has(`${index}`));
  }
  return missing;
}
