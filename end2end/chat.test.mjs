// The chat while an answer arrives, when the connection breaks, and on other devices.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { addOlderMessages, atEnd, inspect, send, shots, signUp, startApp, startBalancer, startBrowser, startTypist, stopClock, woken } from './test-app.mjs';

let app, balancer, browser, typist;
before(async () => {
  typist = await startTypist();
  app = await startApp({ stripe: false, providerAt: typist.url });
  app.query("update plan set requests_per_minute = 1000, tokens_per_day = 1000000 where plan_id = 'free'");
  balancer = await startBalancer(app.url);
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  balancer?.stop();
  await app?.stop();
  typist?.stop();
});

// Signs up a user through the balancer, who sees the empty chat.
async function start(email, options = {}) {
  const page = await browser.visitor(options);
  await signUp(page, { ...app, url: balancer.url }, email);
  await woken(page);
  return page;
}

const ended = (page) => page.locator('.answer').last().locator('.byline').waitFor();
const markdown = (page) => page.locator('.answer .markdown').last();
const pause = (ms) => new Promise((wait) => setTimeout(wait, ms));

const ANSWER = [
  'The **first** paragraph has a [link](https://example.com/a) and `code`.\n\n',
  '| Clause | Months |\n|---|--:|\n| 14.1 | 3 |\n| 14.2 | 12 |\n\n',
  '```rust\npub fn answer() -> u32 {\n', '    42 // always\n}\n```\n\n',
  'Euler: $e^{i\\pi} + 1 = 0$, for $5 and $10.\n\n', '- one\n- two\n\n',
  'مرحبا بالعالم\n\n', '> اقتباس\n\n1. بند\n\n   تتمة\n\n', '**注意：**正文\n\n', 'The end',
];

// Field notes 76, 78, 79 and 80.
test('finished blocks are never redrawn, and a reload shows the same HTML', { timeout: 600_000 }, async () => {
  // The policy blocks the styles that axe injects, which pages report.
  const ann = await start('ann@example.com', { quiet: true });
  await send(ann, 'two\nlines');
  const call = await typist.next();
  call.send(ANSWER[0]);
  call.send(ANSWER[1]);
  await ann.locator('.answer.live td').first().waitFor();
  // Selects the first paragraph, whose node has to stay.
  await ann.evaluate(() => {
    const paragraph = document.querySelector('.answer.live .markdown p');
    window.first = paragraph;
    window.getSelection().selectAllChildren(paragraph);
  });
  const selected = await ann.evaluate(() => window.getSelection().toString());
  assert.match(selected, /first paragraph/);
  for (const part of ANSWER.slice(2)) {
    call.send(part);
    await pause(60);
  }
  await markdown(ann).getByText('The end').waitFor();
  assert.equal(await ann.locator('.answer.live').getAttribute('aria-busy'), 'true');
  assert.ok(await ann.evaluate(() => window.first.isConnected && window.first === document.querySelector('.answer.live .markdown p')));
  assert.equal(await ann.evaluate(() => window.getSelection().toString()), selected);
  await ann.screenshot({ path: join(shots, 'chat-1-streaming.png') });
  call.end();
  await ended(ann);
  const streamed = await markdown(ann).innerHTML();
  assert.match(streamed, /<math/);
  assert.match(streamed, /<strong>注意：<\/strong>/);
  assert.match(streamed, /\$5 and \$10/);
  await ann.reload();
  await woken(ann);
  assert.equal(await markdown(ann).innerHTML(), streamed);
  assert.equal(await ann.locator('.user-message').innerText(), 'two\nlines', 'the message keeps its lines');
  for (const block of ['Arabic', 'Latin']) {
    const text = block === 'Arabic' ? 'مرحبا بالعالم' : 'The end';
    const direction = await ann.getByText(text).evaluate((element) => getComputedStyle(element).direction);
    assert.equal(direction, block === 'Arabic' ? 'rtl' : 'ltr');
  }
  // Quotes and lists have their line and their numbers where their text begins.
  const sides = await markdown(ann).locator('blockquote, ol > li').evaluateAll((all) => all.map((element) => {
    const { direction, paddingRight, marginRight } = getComputedStyle(element);
    return direction === 'rtl' && Math.max(parseFloat(paddingRight), parseFloat(marginRight)) > 10;
  }));
  assert.deepEqual(sides, [true, true]);
  await inspect(ann);
});

// Field note 75.
test('an answer that ran on while the connection was cut is taken up again and paid once', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com', { quiet: true });
  const before = typist.count();
  await send(bob, 'Tell me something long.');
  const call = await typist.next();
  call.send('Before the gap. ');
  await bob.getByText('Before the gap.').waitFor();
  // Only the event tells the page that the connection is back.
  await stopClock(bob);
  balancer.cut();
  call.send('In the gap. ');
  await bob.locator('#connection').waitFor();
  call.send('After the gap.');
  call.end();
  balancer.use(0);
  await bob.evaluate(() => window.dispatchEvent(new Event('online')));
  await bob.getByText('Before the gap. In the gap. After the gap.').waitFor();
  await ended(bob);
  await bob.locator('#connection').waitFor({ state: 'hidden' });
  assert.equal(typist.count() - before, 1, 'one paid call');
  assert.equal(await bob.locator('.answer').count(), 1);
});

// Field note 83.
test('a second tab follows, and its user rates the answer', { timeout: 600_000 }, async () => {
  const cleo = await start('cleo@example.com');
  await send(cleo, 'First');
  let call = await typist.next();
  call.send('one');
  call.end();
  await ended(cleo);
  const tab = await cleo.context().newPage();
  await tab.goto(cleo.url());
  await woken(tab);
  await send(cleo, 'Second');
  call = await typist.next();
  call.send('two');
  await tab.locator('.user-message', { hasText: 'Second' }).waitFor();
  await tab.getByText('two').waitFor();
  call.end();
  await ended(tab);
  await tab.locator('.answer').last().getByRole('button', { name: 'Good response' }).click();
  await tab.locator('.answer [aria-pressed="true"]').waitFor();
  assert.deepEqual(app.query('select is_good from feedback'), [['t']]);
  await tab.reload();
  assert.equal(await tab.locator('.answer').last().locator('[data-good]').getAttribute('aria-pressed'), 'true');
  await ended(cleo);
  assert.equal(await cleo.getByRole('button', { name: 'Regenerate', exact: true }).count(), 2, 'every answer can be regenerated');
});

// Field notes 73 and 74.
test('input methods send nothing by themselves, and a wrong clock is no obstacle', { timeout: 600_000 }, async () => {
  const dan = await browser.visitor();
  await dan.addInitScript(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() + 3_600_000;
  });
  await signUp(dan, app, 'dan@example.com');
  await woken(dan);
  const before = typist.count();
  await dan.locator('#question').fill('にほん');
  await dan.locator('#question').evaluate((box) => {
    box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }));
  });
  await pause(500);
  assert.equal(await dan.locator('#question').inputValue(), 'にほん');
  assert.equal(typist.count(), before);
  await dan.locator('#question').press('Enter');
  const call = await typist.next();
  call.send('はい');
  call.end();
  await ended(dan);
  assert.equal(await markdown(dan).innerText(), 'はい');
  // ↑ puts the last message back.
  await dan.locator('#question').press('ArrowUp');
  assert.equal(await dan.locator('#question').inputValue(), 'にほん');
  assert.deepEqual(browser.complaints, []);
});

// Field note 77.
test('scrolling up stays there, Escape stops, and the queue sends the next message', { timeout: 600_000 }, async () => {
  const eve = await start('eve@example.com', { quiet: true });
  await send(eve, 'Something long');
  const long = await typist.next();
  for (let line = 0; line < 80; line += 1) long.send(`Line ${line}\n\n`);
  await eve.getByText('Line 79', { exact: true }).waitFor();
  const top = () => eve.locator('#transcript').evaluate((element) => element.scrollTop);
  await atEnd(eve);
  const end = await top();
  await eve.locator('#transcript').focus();
  await eve.keyboard.press('ArrowUp');
  await eve.locator('#jump').waitFor();
  // Keys scroll smoothly, by 40 pixels.
  await eve.waitForFunction((from) => from - document.querySelector('#transcript').scrollTop >= 39, end);
  const at = await top();
  long.send('More\n\n');
  await eve.getByText('More', { exact: true }).waitFor();
  assert.ok(Math.abs(await top() - at) < 2, 'the position stays');
  await eve.locator('#jump').click();
  await eve.locator('#jump').waitFor({ state: 'hidden' });
  assert.ok(await top() > at);
  // A message that is sent meanwhile waits.
  await send(eve, 'And then?');
  await eve.locator('#queue').getByText('And then?').waitFor();
  await eve.keyboard.press('Escape');
  await eve.locator('.note', { hasText: 'Stopped' }).waitFor();
  assert.equal(await eve.evaluate(() => document.activeElement.id), 'question');
  long.end(); // The server reads on to the provider's own count.
  const call = await typist.next();
  call.send('Then that.');
  call.end();
  await eve.getByText('Then that.').waitFor();
  await eve.locator('#queue').waitFor({ state: 'hidden' });
  // The sheet of shortcuts.
  await ended(eve);
  await eve.locator('#title').click();
  await eve.evaluate(() => document.activeElement.blur());
  await eve.keyboard.press('?');
  await eve.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await inspect(eve);
  await eve.keyboard.press('Escape');
  await eve.getByRole('dialog').waitFor({ state: 'hidden' });
});

// Field notes 82 and 86.
test('phones: fields that don\'t zoom, Enter for a new line, and text at 200 %', { timeout: 600_000 }, async () => {
  const phone = await start('fay@example.com', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  for (const id of ['#question', '#model']) {
    const size = await phone.locator(id).evaluate((element) => parseFloat(getComputedStyle(element).fontSize));
    assert.ok(size >= 16, `${id} has ${size} px`);
  }
  await phone.locator('#question').fill('one');
  await phone.locator('#question').press('Enter');
  assert.equal(await phone.locator('#question').inputValue(), 'one\n');
  for (const width of [320, 360, 390]) {
    await phone.setViewportSize({ width, height: 844 });
    const panel = await phone.locator('#meter .ring-panel').boundingBox();
    assert.ok(panel.x >= 0 && panel.x + panel.width <= width, `at ${width} px the panel of the meter is ${JSON.stringify(panel)}`);
  }
  for (const path of ['/chat', '/settings/billing', '/usage']) {
    await phone.goto(balancer.url + path);
    await phone.evaluate(() => { document.documentElement.style.fontSize = '200%'; });
    const over = await phone.evaluate(() => document.documentElement.scrollWidth - 390);
    assert.ok(over <= 0, `${path} is ${over} px too wide`);
    if (path !== '/chat') continue;
    const picker = await phone.locator('#model').boundingBox();
    assert.ok(picker.width > 200, `the picker is ${picker.width} px wide`);
    await phone.getByRole('button', { name: 'Conversations' }).click();
    await phone.getByRole('button', { name: /^Account/ }).click();
    const box = await phone.getByRole('button', { name: 'Sign out' }).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 390 && box.y + box.height <= 844, JSON.stringify(box));
    await phone.screenshot({ path: join(shots, 'chat-2-large-text.png') });
  }
});

// Field notes 85 and 87.
test('until its program has loaded the page says so, and translated pages keep working', { timeout: 600_000 }, async () => {
  const gus = await start('gus@example.com', { quiet: true });
  let load;
  const loaded = new Promise((done) => { load = done; });
  await gus.route('**/*.wasm', (route) => loaded.then(() => route.continue()));
  await gus.reload({ waitUntil: 'domcontentloaded' });
  await gus.locator('#question').fill('typed early');
  await gus.locator('#question').press('Control+End');
  assert.ok(await gus.locator('#send').isDisabled());
  await gus.waitForFunction(() => getComputedStyle(document.querySelector('#loading')).opacity === '1');
  load();
  await woken(gus);
  assert.equal(await gus.locator('#question').inputValue(), 'typed early', 'what was typed is kept');
  assert.equal(await gus.locator('#loading').isVisible(), false);
  for (const selector of ['#meter', '#status', '#estimate', '#connection']) {
    assert.equal(await gus.locator(selector).getAttribute('translate'), 'no', selector);
  }
  await gus.locator('#question').press('Enter');
  const call = await typist.next();
  call.send('Hello');
  call.end();
  await ended(gus);
  assert.match(await gus.locator('#meter-tokens').getAttribute('aria-valuetext'), /used/);
});

// Counts what the page's program does with the document: its calls of the DOM, the elements and characters that they return, and the
// characters that it sets.
const countWork = (page) => page.evaluate(() => {
  window.work = 0;
  const size = (value) => 1 + (typeof value === 'string' || value instanceof NodeList ? value.length : 0);
  const counted = (call, sizeOf) => function (...values) {
    const result = call.apply(this, values);
    window.work += sizeOf(result, values);
    return result;
  };
  for (const type of [Node, Element, HTMLElement, HTMLTextAreaElement, CharacterData, Document, DocumentFragment, NodeList]) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(type.prototype))) {
      if (!property.configurable || name === 'constructor') continue;
      if (typeof property.value === 'function') property.value = counted(property.value, size);
      if (property.get) property.get = counted(property.get, size);
      if (property.set) property.set = counted(property.set, (_, [value]) => size(value));
      Object.defineProperty(type.prototype, name, property);
    }
  }
});

// Returns the least work of several repetitions of an action, with what follows in the next frames: other work may come between.
async function workOf(page, act) {
  const all = [];
  for (let time = 0; time < 5; time += 1) {
    await page.evaluate(() => { window.work = 0; });
    await act();
    all.push(await page.evaluate(() => new Promise((done) => {
      requestAnimationFrame(() => requestAnimationFrame(() => done(window.work)));
    })));
  }
  return Math.min(...all);
}

// `./dev bench browser` measures how long it takes.
test('a key and a piece of a response cause as little work in a long conversation as in a short one', { timeout: 600_000 }, async () => {
  const hal = await start('hal@example.com', { quiet: true });
  await send(hal, 'Question');
  const call = await typist.next();
  let pieces = 100;
  const piece = () => { pieces += 1; return `Piece ${pieces} has **words** and \`code\`.\n\n`; };
  const arrive = async () => {
    call.send(piece());
    await hal.getByText(`Piece ${pieces} has words and code.`, { exact: true }).waitFor();
  };
  await arrive();
  await countWork(hal);
  const early = await workOf(hal, arrive);
  for (let more = 0; more < 300; more += 1) call.send(piece());
  await arrive();
  const late = await workOf(hal, arrive);
  assert.ok(early > 10, `counts ${early}`);
  assert.ok(late < early * 2, `a piece causes ${early} at first, ${late} after 300 others`);
  call.end();
  await ended(hal);
  await hal.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  addOlderMessages(app, hal.url().split('/').at(-1), 2_000);
  const keys = [];
  for (const shown of [2, 150]) {
    if (shown > 2) {
      await hal.reload();
      await woken(hal);
      await atEnd(hal);
      await countWork(hal);
      for (const loaded of [50, 100, shown]) {
        await hal.waitForFunction((count) => document.querySelectorAll('#messages > article').length === count, loaded);
        await hal.locator('#transcript').evaluate((element) => { element.scrollTop = 0; });
      }
    }
    await hal.locator('#question').fill('Some text');
    keys.push(await workOf(hal, () => hal.keyboard.press('a')));
  }
  assert.ok(keys[0] > 10, `counts ${keys[0]}`);
  assert.ok(keys[1] < keys[0] * 2, `a key causes ${keys[0]} beside 2 messages, ${keys[1]} beside 150`);
  // While a response arrives, the browser skips responses that are out of view. They keep their size, and so do earlier ones that are loaded.
  await hal.reload();
  await woken(hal);
  await atEnd(hal);
  const first = hal.locator('#messages .answer').first();
  const { height } = await first.boundingBox();
  const isSkipped = () => first.evaluate((answer) => !answer.querySelector('.markdown').checkVisibility({ contentVisibilityAuto: true }));
  assert.equal(await isSkipped(), false);
  await send(hal, 'Another question');
  const other = await typist.next();
  other.send(piece());
  await hal.getByText(`Piece ${pieces} has words and code.`, { exact: true }).last().waitFor();
  while (!await isSkipped()) await hal.evaluate(() => new Promise(requestAnimationFrame));
  assert.equal((await first.boundingBox()).height, height);
  await first.evaluate((answer) => answer.setAttribute('data-was-first', ''));
  await hal.locator('#transcript').evaluate((element) => { element.scrollTop = 0; });
  await hal.waitForFunction(() => document.querySelectorAll('#messages > article').length > 60);
  await hal.waitForFunction(() => document.querySelector('[data-was-first] .markdown').checkVisibility({ contentVisibilityAuto: true }));
  other.end();
  await ended(hal);
});
