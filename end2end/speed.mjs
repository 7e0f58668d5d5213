// Measures the chat page of a release build in a browser. Prints each figure beside its goal, and fails if one is missed by more than half
// of the goal: a machine that also runs the server is slower than a user's. Each figure is the best of three, because a busy machine is slow
// at times. Run by `./dev bench browser`.
import { addOlderMessages, cookiesOf, send, signUp, startApp, startBrowser, startTypist, woken } from './test-app.mjs';

const RUNS = 3;
// A figure counts as missed beyond its goal times this.
const TOLERANCE = 1.5;
const MESSAGES = 2_000;
// A text of a response and of older messages, of about 60 tokens.
const BLOCKS = [
  'A paragraph with **words** that stand out, `code` and a [link](https://example.com), as long as those that models write. '.repeat(2),
  '- one item of a list\n- another with **bold** text\n- a third one\n',
  '```rust\nfn main() {\n    println!("a line of code");\n}\n```\n',
];
// The network of a first visit.
const NETWORK = { offline: false, latency: 100, downloadThroughput: 400_000 / 8, uploadThroughput: 400_000 / 8 };
const TOKENS = 4_000;
const TOKENS_PER_SECOND = 100;
const TEXT = 'What I type beside a long conversation, as fast as people type. ';

const typist = await startTypist();
const app = await startApp({ stripe: false, providerAt: typist.url });
app.query("update plan set requests_per_minute = 1000, tokens_per_day = 100000000 where plan_id = 'free'");
const browser = await startBrowser();

// Returns the value below which a share of the values lies.
const at = (values, share) => values.sort((a, b) => a - b)[Math.floor(values.length * share)];
const slowDown = async (page, rate) => {
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setCPUThrottlingRate', { rate });
};

// Measures the milliseconds from keys to the end of the frame that shows them.
async function type(page) {
  await page.evaluate(() => {
    window.delays = [];
    window.typed ??= document.querySelector('#question').addEventListener('beforeinput', () => {
      const at = performance.now();
      requestAnimationFrame(() => setTimeout(() => window.delays.push(performance.now() - at)));
    }) ?? true;
  });
  await page.locator('#question').fill('');
  await page.locator('#question').pressSequentially(TEXT.repeat(3), { delay: 30 });
  return at(await page.evaluate(() => window.delays), 0.98);
}

// Answers the next call with a number of tokens, a few at a time, at a constant rate. Ends early when `isOver` resolves.
async function answer(tokens, isOver = new Promise(() => {})) {
  const call = await typist.next();
  const pieces = [];
  for (let block = 0; pieces.length < tokens; block += 1) pieces.push(...`${BLOCKS[block % BLOCKS.length]}\n\n`.match(/[^]{1,4}/g));
  let isStopped = false;
  isOver.then(() => { isStopped = true; });
  const began = performance.now();
  for (let sent = 0; sent < tokens && !isStopped;) {
    await new Promise((wait) => setTimeout(wait, 10));
    const due = Math.min(tokens, Math.floor((performance.now() - began) / 1_000 * TOKENS_PER_SECOND));
    if (due > sent) call.send(pieces.slice(sent, due).join(''));
    sent = Math.max(sent, due);
  }
  call.end();
}

const ended = (page) => page.locator('.answer').last().locator('.byline').waitFor();

// Returns frames per second and the longest time between two, while a response arrives.
async function watchFrames(page) {
  const answered = answer(TOKENS);
  await send(page, 'A question');
  await page.locator('.answer.live .markdown > *').first().waitFor();
  await page.evaluate(() => {
    window.frames = [];
    const frame = (now) => { window.frames.push(now); if (!window.isOver) requestAnimationFrame(frame); };
    window.isOver = false;
    requestAnimationFrame(frame);
  });
  await answered;
  const frames = await page.evaluate(() => { window.isOver = true; return window.frames; });
  await ended(page);
  const gaps = frames.slice(1).map((time, n) => time - frames[n]);
  return { rate: (frames.length - 1) / (frames.at(-1) - frames[0]) * 1_000, longest: Math.max(...gaps) };
}

// Opens the chat in a browser that has loaded nothing before. Returns the time until a message can be sent, and the bytes received.
async function visitFirst(n) {
  const page = await browser.visitor({ quiet: true });
  await signUp(page, { ...app, url: app.url }, `first-${n}@example.com`);
  // The same user in another browser context, whose cache is empty.
  const fresh = await browser.visitor({ quiet: true, storageState: await page.context().storageState() });
  await page.context().close();
  await fresh.addInitScript(() => {
    new MutationObserver((_, observer) => {
      if (!document.querySelector('#composer[data-ready]')) return;
      window.readyMs = performance.now();
      observer.disconnect();
    }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-ready'] });
  });
  const network = await fresh.context().newCDPSession(fresh);
  await network.send('Network.enable');
  await network.send('Network.emulateNetworkConditions', NETWORK);
  const [types, bytes] = [new Map(), { program: 0, rest: 0 }];
  network.on('Network.responseReceived', ({ requestId, response }) => types.set(requestId, response.mimeType));
  network.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    bytes[/wasm|javascript/.test(types.get(requestId)) ? 'program' : 'rest'] += encodedDataLength;
  });
  await fresh.goto(`${app.url}/chat`, { waitUntil: 'networkidle' });
  await woken(fresh);
  const readyMs = await fresh.evaluate(() => window.readyMs);
  await fresh.context().close();
  return { readyMs, ...bytes };
}

// Returns the median time in which the server sends a page.
async function openPage(url, cookie) {
  const times = [];
  for (let time = 0; time < 20; time += 1) {
    const began = performance.now();
    const page = await fetch(url, { headers: { cookie } });
    await page.text();
    if (!page.ok) throw new Error(`${url}: ${page.status}`);
    times.push(performance.now() - began);
  }
  return at(times, 0.5);
}

const runs = [];
try {
  const page = await browser.visitor({ quiet: true });
  await signUp(page, app, 'ann@example.com');
  await woken(page);
  const first = answer(20);
  await send(page, 'The first question');
  await first;
  await ended(page);
  await page.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  const url = page.url();
  addOlderMessages(app, url.split('/').at(-1), MESSAGES, `\n\n${BLOCKS.join('\n\n')}`.replaceAll("'", "''"));
  for (let run = 0; run < RUNS; run += 1) {
    const opened = await openPage(url, await cookiesOf(page, app));
    await page.goto(url);
    await woken(page);
    await slowDown(page, 4);
    const typing = await type(page);
    let stop;
    const answered = answer(TOKENS, new Promise((done) => { stop = done; }));
    await page.locator('#question').fill('');
    await send(page, 'A question');
    await page.locator('.answer.live .markdown > *').first().waitFor();
    const typingBeside = await type(page);
    stop();
    await answered;
    await ended(page);
    await page.locator('#question').fill('');
    await slowDown(page, 1);
    const { rate, longest } = await watchFrames(page);
    runs.push({ opened, typing, typingBeside, rate, longest, ...await visitFirst(run) });
  }
} finally {
  await browser.stop();
  await app.stop();
  typist.stop();
}

const ms = (value) => `${value.toFixed(value < 100 ? 1 : 0)} ms`;
const kib = (value) => `${(value / 1_024).toFixed(1)} KiB`;
const FIGURES = [
  [`a key in a conversation of ${MESSAGES} messages, CPU 4 times slower, p98`, 'typing', 32, ms],
  ['the same while a response arrives', 'typingBeside', 32, ms],
  [`frames per second while ${TOKENS} tokens arrive at ${TOKENS_PER_SECOND}/s`, 'rate', 60, (value) => value.toFixed(1)],
  ['the longest time between two of them', 'longest', null, ms],
  ['first visit at 400 kbit/s and 100 ms: a message can be sent after', 'readyMs', 6_000, ms],
  ['its script and wasm', 'program', null, kib],
  ['everything else of it', 'rest', null, kib],
  [`the server sends the page of ${MESSAGES} messages, p50`, 'opened', 300, ms],
];
const missed = [];
const table = [['figure', 'goal', 'measured']];
for (const [name, key, goal, print] of FIGURES) {
  const isRate = key === 'rate';
  const value = (isRate ? Math.max : Math.min)(...runs.map((run) => run[key]));
  const ratio = goal === null ? 0 : isRate ? goal / value : value / goal;
  // Screens have a frame rate of nearly 60.
  if (ratio > TOLERANCE) missed.push(`${name}: ${print(value)}`);
  table.push([name, goal === null ? '' : `${isRate ? '≥' : '≤'} ${print(goal)}`, print(value) + (ratio > 1.01 ? ' !' : '')]);
}
const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
for (const row of table) console.log(row.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd());
if (missed.length) console.error(`Goals missed by more than a factor of ${TOLERANCE}:\n${missed.join('\n')}`);
process.exit(missed.length ? 1 : 0);
