// Around the message box: the queue, the estimate, warnings and refusals, what can be done with a response, and older messages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import {
  addOlderMessages, appeared, atEnd, inspect, recordTexts, scroll, send, shots, signUp, startApp, startBrowser, stopClock, woken,
} from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const ended = (page, n = -1) => page.locator('.answer').nth(n).locator('.byline').waitFor();
const box = (page) => page.locator('#question').inputValue();
const plan = (set) => app.query(`update plan set ${set} where plan_id = 'free'`);
const usual = () => plan('requests_per_minute = 1000, tokens_per_day = 10000000, in_flight = 2');

async function start(email, options = {}) {
  usual();
  const page = await browser.visitor({ quiet: true, ...options });
  await signUp(page, app, email);
  await woken(page);
  return page;
}

test('a message beyond the responses in progress waits on the page and is sent when one ends', { timeout: 600_000 }, async () => {
  const ann = await start('ann@example.com');
  await send(ann, '{{words:4}}{{hold:2}} one');
  await ann.locator('.answer').getByText('word2').waitFor();
  const second = await ann.context().newPage();
  await second.goto(`${app.url}/chat`);
  await woken(second);
  await send(second, '{{words:4}}{{hold:2}} two');
  await second.locator('.answer').getByText('word2').waitFor();
  const third = await ann.context().newPage();
  await third.goto(`${app.url}/chat`);
  await woken(third);
  await send(third, '{{words:3}} three');
  await third.locator('#queue').getByText('three').waitFor();
  assert.equal(await third.locator('.refusal').count(), 0, 'no card with a time that nobody knows');
  // A reload keeps what waits, in the message box.
  await third.reload();
  await woken(third);
  assert.equal(await box(third), '{{words:3}} three');
  await third.locator('#question').press('Enter');
  await third.locator('#queue').getByText('three').waitFor();
  await app.release();
  await third.locator('.answer').getByText('word3').waitFor();
  await third.locator('#queue').waitFor({ state: 'hidden' });
  await ended(third);
  // What waits can be removed.
  await send(third, '{{words:600}}{{pace:100}} four');
  await third.getByRole('button', { name: 'Stop' }).waitFor();
  await send(third, 'five');
  await third.locator('#queue').getByText('five').waitFor();
  await third.locator('#queue').getByRole('button').click();
  await third.locator('#queue').waitFor({ state: 'hidden' });
  await third.getByRole('button', { name: 'Stop' }).click();
  await ended(third);
  assert.equal(await third.locator('.user-message').count(), 2);
});

test('the estimate appears while typing, and the model is remembered', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com');
  const asked = [];
  bob.on('request', (request) => { if (request.url().endsWith('/api/estimate')) asked.push(request); });
  await bob.locator('#question').fill('Short.');
  await bob.locator('#question').fill('These words are repeated for an estimate. '.repeat(20));
  await bob.locator('#estimate').waitFor();
  assert.match(await bob.locator('#estimate').innerText(), /^≈ \d+(\.\d)?k? of [\d.]+[kM] left$/);
  assert.equal(asked.length, 1, 'short drafts are not estimated');
  await bob.locator('#question').fill('Short again.');
  await bob.locator('#estimate').waitFor({ state: 'hidden' });
  await send(bob, '{{words:2}} one');
  await ended(bob);
  plan('requests_per_minute = 1');
  await bob.locator('#question').fill('These words are repeated for an estimate. '.repeat(10));
  await bob.locator('#estimate[data-over]').waitFor();
  usual();
  await bob.locator('#question').fill('');
  await bob.locator('#model').selectOption('gpt-6-luna');
  await bob.goto(`${app.url}/chat`);
  await woken(bob);
  assert.equal(await bob.locator('#model').inputValue(), 'gpt-6-luna');
  // A starter fills the box.
  await bob.locator('[data-starter]').first().click();
  assert.notEqual(await box(bob), '');
  assert.equal(await bob.evaluate(() => document.activeElement.id), 'question');
});

// Field note 82: browsers without `field-sizing`.
test('boxes grow with their text in every browser', { timeout: 600_000 }, async () => {
  const cleo = await browser.visitor({ quiet: true });
  await cleo.addInitScript(() => {
    const supports = CSS.supports.bind(CSS);
    CSS.supports = (...query) => query[0] !== 'field-sizing' && supports(...query);
    // Counts how often a box is measured, which makes the browser lay out the page.
    window.measured = 0;
    const height = Object.getOwnPropertyDescriptor(Element.prototype, 'scrollHeight');
    Object.defineProperty(Element.prototype, 'scrollHeight', { ...height, get() {
      window.measured += this.matches('textarea');
      return height.get.call(this);
    } });
  });
  usual();
  await signUp(cleo, app, 'cleo@example.com');
  await woken(cleo);
  const edited = cleo.getByRole('textbox', { name: 'Edit message' });
  const lines = (count) => `{{words:2}}${' A line.\n'.repeat(count)}`;
  const measure = (box) => box.evaluate((area) => ({ shown: area.clientHeight, needed: area.scrollHeight, window: innerHeight }));
  for (const box of [cleo.locator('#question'), edited]) {
    await box.evaluate((area) => area.style.setProperty('field-sizing', 'fixed'));
    if (box === edited) {
      const { shown, needed } = await measure(box);
      assert.ok(needed <= shown + 1, `the form opens with all of its text: ${needed} px in ${shown}`);
    }
    await box.fill('One line');
    const one = await measure(box);
    await cleo.evaluate(() => { window.measured = 0; });
    await box.fill(lines(7));
    assert.equal(await cleo.evaluate(() => window.measured), 0);
    const { shown, needed } = await measure(box);
    assert.ok(shown > one.shown * 2 && needed <= shown + 1, `${needed} px in ${shown}`);
    await box.fill(lines(60));
    const long = await measure(box);
    assert.ok(long.shown <= long.window * 0.4 + 1 && long.needed > long.shown, JSON.stringify(long));
    await box.fill('One line');
    assert.equal((await measure(box)).shown, one.shown);
    if (box === edited) continue;
    await send(cleo, lines(7));
    await ended(cleo);
    await cleo.locator('.user-message').hover();
    await cleo.getByRole('button', { name: 'Edit message' }).click();
  }
});

test('toasts tell of few requests and of each level of tokens once', { timeout: 600_000 }, async () => {
  const dan = await start('dan@example.com');
  await send(dan, '{{words:1500}} one');
  await ended(dan);
  const used = Number(await dan.locator('#meter').getAttribute('data-used'));
  assert.ok(used > 3_000, used);
  // In a new conversation, whose prompt is short, the next response takes the tokens above 80 % of the day's.
  await dan.goto(`${app.url}/chat`);
  await woken(dan);
  plan(`tokens_per_day = ${Math.ceil((used + 60) / 0.85)}`);
  // A toast disappears after six seconds, by the page's clock.
  await stopClock(dan);
  await send(dan, '{{words:10}} two');
  await ended(dan);
  await dan.locator('#toast').getByText('80 % of today').waitFor();
  // Of this user, one request alone counts, however long the others have taken.
  const eli = await start('eli@example.com');
  plan('requests_per_minute = 4');
  await stopClock(eli);
  await send(eli, '{{words:2}} three');
  await ended(eli);
  await eli.locator('#toast').getByText(/3 requests left this minute/).waitFor();
  await eli.locator('#toast').getByRole('button', { name: 'Close' }).click();
  await eli.locator('#toast').waitFor({ state: 'hidden' });
});

test('a refused message is sent when possible, if the user wants that', { timeout: 600_000 }, async () => {
  const eve = await start('eve@example.com');
  await send(eve, '{{words:2}} one');
  await ended(eve);
  plan('requests_per_minute = 1');
  await send(eve, '{{words:3}} two');
  const card = eve.locator('.refusal');
  await card.waitFor();
  assert.equal(await box(eve), '{{words:3}} two');
  assert.ok(await card.getByRole('button', { name: 'Send again' }).isDisabled());
  const countdown = () => card.locator('.countdown').innerText();
  const first = await countdown();
  assert.match(first, /^(1 min|1 min \d+ s|\d+ s)$/);
  await eve.waitForFunction((before) => document.querySelector('.countdown').innerText !== before, first);
  await eve.screenshot({ path: join(shots, 'composer-1-refused.png') });
  await inspect(eve);
  // If the wait is over by now, this sends at once.
  await card.getByLabel('Send when possible').click();
  await eve.locator('.answer').nth(1).getByText('word3').waitFor();
  assert.equal(await card.count(), 0);
  assert.equal(await box(eve), '');
});

test('without enough tokens the card offers a time, a shorter response and only models that fit', { timeout: 600_000 }, async () => {
  const fay = await start('fay@example.com');
  await send(fay, '{{words:300}} one');
  await ended(fay);
  const used = Number(await fay.locator('#meter').getAttribute('data-used'));
  // In a new conversation the message would fit an unused day.
  await fay.goto(`${app.url}/chat`);
  await woken(fay);
  plan(`tokens_per_day = ${used + 20}`);
  await send(fay, 'And a question about all of it, please.');
  const card = fay.locator('.refusal');
  await card.waitFor();
  assert.match(await card.innerText(), /Not enough tokens left today/);
  assert.match(await card.locator('.when').first().innerText(), /Try again in 2\d h.*, (tomorrow|on \d+ \w+) at \d/);
  await card.getByRole('button', { name: 'Ask for a shorter answer' }).click();
  assert.match(await box(fay), /^And a question about all of it, please\.\n\nAnswer in a few sentences\.$/);
  const others = await card.locator('[data-slot=cheaper]').isVisible();
  assert.equal(others, false, 'no other model fits either');
  // Where another model is what helps, it is offered and used.
  usual();
  await fay.locator('#question').fill('{{status:500}}{{only:claude-haiku-5-5}}{{words:3}} two');
  await fay.locator('#question').press('Enter');
  await card.locator('[data-slot=cheaper]').waitFor();
  await card.locator('[data-slot=cheaper]').click();
  await fay.locator('.answer').getByText('word3').waitFor();
  assert.equal(await fay.locator('#model').inputValue(), 'gpt-6-luna');
});

test('a response can be copied, its code saved, its table taken along, and rated', { timeout: 600_000 }, async () => {
  const gus = await start('gus@example.com');
  await gus.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await send(gus, 'How does a lease end?');
  await ended(gus);
  const clipboard = () => gus.evaluate(() => navigator.clipboard.readText());
  // Waits for a text on the clipboard. `waitForFunction` doesn't await a promise.
  const copied = async (start) => { while (!(await clipboard()).startsWith(start)) await gus.waitForTimeout(20); };
  const answer = gus.locator('.answer');
  await recordTexts(gus, '.answer');
  await answer.locator('[data-csv]').click();
  await appeared(gus, 'Copied');
  assert.match(await clipboard(), /^Way,Notice,Counts from\r?\nThe agreed date,none,signing\r?\n/);
  await answer.locator('[data-copy]').click();
  await copied('fn last_day');
  await answer.locator('[data-wrap]').click();
  assert.equal(await answer.locator('[data-wrap]').getAttribute('aria-pressed'), 'true');
  assert.equal(await answer.locator('pre code').evaluate((code) => getComputedStyle(code).textWrapMode), 'wrap');
  const [saved] = await Promise.all([gus.waitForEvent('download'), answer.locator('[data-download]').click()]);
  assert.equal(saved.suggestedFilename(), 'code.rs');
  await answer.getByRole('button', { name: 'Copy response' }).click();
  await copied('A lease usually ends');
  assert.match(await clipboard(), /```rust\nfn last_day/);
  // What is copied is the Markdown that the model wrote, and the user's message as it was sent.
  const [[body]] = app.query("select md5(body) from message where role = 'assistant' order by created_at desc limit 1");
  assert.equal(createHash('md5').update((await clipboard()).replaceAll('\r\n', '\n')).digest('hex'), body);
  await gus.locator('.user-message').hover();
  await gus.getByRole('button', { name: 'Copy message' }).click();
  await copied('How does a lease end?');
  await answer.getByRole('button', { name: 'Good response' }).click();
  await answer.locator('[data-good][aria-pressed=true]').waitFor();
  await answer.getByRole('button', { name: 'Bad response' }).click();
  await answer.locator('[data-bad][aria-pressed=true]').waitFor();
  assert.equal(await answer.locator('[data-good]').getAttribute('aria-pressed'), 'false');
  assert.deepEqual(app.query('select is_good from feedback'), [['f']]);
  await answer.locator('[data-bad]').click();
  await answer.locator('[data-bad][aria-pressed=false]').waitFor();
  assert.deepEqual(app.query('select is_good from feedback'), []);
  // Another model answers the same message.
  const turn = await answer.getAttribute('data-turn');
  await answer.getByRole('button', { name: 'Regenerate with another model' }).click();
  const menu = gus.locator('#again-models');
  await menu.waitFor();
  await gus.keyboard.press('Escape');
  await menu.waitFor({ state: 'hidden' });
  await answer.getByRole('button', { name: 'Regenerate with another model' }).click();
  await menu.locator('[data-again-model="gpt-6-luna"]').click();
  await menu.waitFor({ state: 'hidden' });
  await gus.waitForFunction((before) => {
    const [only, ...others] = document.querySelectorAll('.answer');
    return others.length === 0 && only.dataset.turn !== before && only.matches('.live[aria-busy=false]');
  }, turn);
  assert.equal((await app.served()).at(-1).model, 'gpt-6-luna');
  assert.equal(await gus.evaluate(() => document.activeElement.id), 'question');
});

test('older messages appear when scrolling up, and what is read stays in place', { timeout: 600_000 }, async () => {
  const hal = await start('hal@example.com');
  await send(hal, '{{words:3}} newest');
  await ended(hal);
  await hal.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  addOlderMessages(app, hal.url().split('/').at(-1), 2_000);
  await hal.reload();
  await woken(hal);
  assert.equal(await hal.locator('#messages > article').count(), 50);
  await hal.getByText('word3').waitFor();
  await atEnd(hal);
  const transcript = hal.locator('#transcript');
  for (const seen of [100, 150]) {
    await transcript.evaluate((element) => { element.scrollTop = 300; });
    const first = hal.locator('#messages > article').first();
    const text = await first.innerText();
    const place = await first.evaluate((element) => { window.mark = element; return element.getBoundingClientRect().top; });
    await hal.waitForFunction((count) => document.querySelectorAll('#messages > article').length === count, seen);
    assert.match(text, /Message number/);
    const now = await hal.evaluate(() => window.mark.getBoundingClientRect().top);
    assert.ok(Math.abs(now - place) <= 2, `it moved by ${now - place} px`);
  }
  // What can't be loaded is requested again only by its link.
  const earlier = /\/messages\?before=/;
  let tries = 0;
  await hal.route(earlier, (route) => { tries += 1; return route.abort(); });
  await scroll(transcript, [0]);
  await hal.getByRole('alert').filter({ hasText: 'Loading failed.' }).waitFor();
  await scroll(transcript, [60, 30, 0]);
  assert.equal(tries, 1);
  // The page has loaded its messages again before a part of them arrives, which doesn't follow the first one any more.
  let arrive;
  const held = new Promise((done) => { arrive = done; });
  await hal.unroute(earlier);
  await hal.route(earlier, async (route) => { await held; await route.continue(); });
  await Promise.all([hal.waitForRequest(earlier), hal.locator('#earlier a').click()]);
  const shown = () => hal.locator('#messages > article').evaluateAll((all) => all.map((article) => {
    return article.querySelector('.message, .markdown').textContent.match(/Message number (\d+)/)?.[1];
  }));
  const other = await hal.context().newPage();
  await other.goto(hal.url());
  await woken(other);
  await send(other, '{{words:4}} from another tab');
  await hal.getByText('from another tab').waitFor();
  await ended(hal);
  assert.ok((await shown()).length < 60);
  await Promise.all([hal.waitForResponse(earlier), arrive()]);
  while ((await shown()).length < 99) await hal.locator('#earlier a').click();
  const numbers = (await shown()).filter(Boolean).map(Number);
  assert.deepEqual(numbers, numbers.map((_, place) => numbers[0] + place), 'none is skipped');
});

test('the open conversation is visible in a long sidebar, and menus close by Escape and a click elsewhere', { timeout: 600_000 }, async () => {
  const ida = await start('ida@example.com', { viewport: { width: 1280, height: 500 } });
  await send(ida, '{{words:3}} the oldest');
  await ended(ida);
  await ida.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  // Below what the sidebar shows without scrolling, and then not even among the 50 of the first page, but above them.
  // It was active before the others, which at midnight is the day before.
  for (const [added, heading] of [[40, /^(Today|Yesterday)$/], [20, /^Open$/]]) {
    app.query(`insert into conversation (conversation_id, user_id, title) select gen_random_uuid(), user_id, 'Conversation ' || n
      from account, generate_series(1, ${added}) n where email = 'ida@example.com'`);
    await ida.reload();
    await woken(ida);
    const current = ida.locator('#conversations [aria-current=page]');
    assert.match(await ida.locator('#conversations section', { has: ida.locator('[aria-current=page]') }).locator('h2').innerText(), heading);
    const isSeen = await current.evaluate((row) => {
      const { x, y, width, height } = row.getBoundingClientRect();
      return row.contains(document.elementFromPoint(x + width / 2, y + height / 2));
    });
    assert.ok(isSeen, `${heading}: ${JSON.stringify(await current.boundingBox())}`);
  }
  await ida.getByRole('button', { name: 'Delete conversation' }).click();
  await ida.locator('#delete').waitFor();
  await ida.keyboard.press('Escape');
  await ida.locator('#delete').waitFor({ state: 'hidden' });
  await ida.getByRole('button', { name: 'Delete conversation' }).click();
  await ida.locator('#transcript').click({ position: { x: 5, y: 5 } });
  await ida.locator('#delete').waitFor({ state: 'hidden' });
});

test('axe finds nothing while a response streams, in both themes and at 390 px', { timeout: 600_000 }, async () => {
  const jan = await start('jan@example.com');
  await send(jan, '{{words:900}}{{pace:100}} a long one');
  await jan.locator('.answer.live').getByText('word30 ').waitFor();
  await inspect(jan);
  await jan.setViewportSize({ width: 390, height: 844 });
  for (const colorScheme of ['light', 'dark']) {
    await jan.emulateMedia({ colorScheme });
    await jan.screenshot({ path: join(shots, `composer-2-streaming-${colorScheme}.png`) });
  }
  assert.equal(await jan.locator('.answer.live').getAttribute('aria-busy'), 'true', 'the response is still arriving');
  // Forced colors replace backgrounds and shadows: what has the focus, is selected or pressed has an outline, and the cursor is a border.
  await jan.setViewportSize({ width: 1280, height: 800 });
  await jan.emulateMedia({ colorScheme: 'light', forcedColors: 'active' });
  const isOutlined = (selector) => jan.locator(selector).evaluate((element) => {
    const { outlineStyle, outlineColor } = getComputedStyle(element);
    return outlineStyle === 'solid' && outlineColor !== 'rgba(0, 0, 0, 0)';
  });
  await jan.locator('#question').focus();
  assert.ok(await isOutlined('#question'), 'the message box has the focus');
  const cursor = await jan.locator('.answer.live .markdown > :last-child').evaluate((last) => getComputedStyle(last, '::after').borderLeftWidth);
  assert.equal(cursor, '8px');
  await jan.getByRole('button', { name: 'Stop' }).click();
  await ended(jan);
  await jan.locator('.answer').getByRole('button', { name: 'Good response' }).click();
  await jan.locator('.answer [aria-pressed=true]').waitFor();
  await jan.locator('#question').focus();
  assert.ok(await isOutlined('.answer [aria-pressed=true]'), 'the rating is pressed');
  assert.ok(await isOutlined('#conversations [aria-current=page]'), 'the conversation is open');
  await jan.goto(`${app.url}/usage`);
  assert.ok(await isOutlined('.tabs [aria-current=page]'), 'the tab is selected');
});

test('nothing moves when a response ends, and tables break no words', { timeout: 600_000 }, async () => {
  const ivy = await start('ivy@example.com');
  await send(ivy, '{{words:4}}{{hold:2}} one');
  await ivy.locator('.answer').getByText('word2').waitFor();
  const top = () => ivy.locator('.answer .markdown').evaluate((text) => {
    return text.getBoundingClientRect().top - document.querySelector('.user-message').getBoundingClientRect().top;
  });
  const live = await top();
  await app.release();
  await ended(ivy);
  assert.equal(await top(), live);
  await send(ivy, 'How does a lease end?');
  await ended(ivy);
  await ivy.setViewportSize({ width: 390, height: 844 });
  const table = await ivy.locator('.answer table').evaluate((table) => {
    table.querySelector('th').textContent = 'Responsibilities';
    table.querySelectorAll('th')[1].textContent = 'Internationalization';
    const lines = (cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getClientRects().length;
    };
    const edge = (cell, side) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getBoundingClientRect()[side];
    };
    const [, middle, last] = table.querySelectorAll('th');
    return { lines: lines(middle), gap: edge(last, 'left') - edge(middle, 'right') };
  });
  assert.equal(table.lines, 1, 'a word has one line: the table scrolls');
  assert.ok(table.gap >= 8, `columns don't touch: ${table.gap}`);
});
