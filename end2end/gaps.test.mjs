// Broken, silent and slow connections, and other devices: no response is lost, none is paid for twice.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { send, signUp, startApp, startBrowser, startTypist, stopClock, woken } from './test-app.mjs';
import { startRelay } from './relay.mjs';

let app, relay, browser, typist;
before(async () => {
  typist = await startTypist();
  app = await startApp({ stripe: false, providerAt: typist.url });
  app.query("update plan set requests_per_minute = 1000, tokens_per_day = 1000000 where plan_id = 'free'");
  relay = await startRelay(app.url);
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  relay?.stop();
  await app?.stop();
  typist?.stop();
});

const pause = (ms) => new Promise((wait) => setTimeout(wait, ms));
const ended = (page) => page.locator('.answer').last().locator('.byline').waitFor();
const answers = (page) => page.locator('.answer .markdown');
const paid = (email) => Number(app.query(`select count(*) from ai_usage join account using (user_id) where email = '${email}'`)[0][0]);

// Signs up a user through the relay. Chromium reports connections that are broken on purpose.
async function start(email, options = {}) {
  const page = await browser.visitor({ quiet: true, ...options });
  await signUp(page, { ...app, url: relay.url }, email);
  await woken(page);
  return page;
}

// Field note 75: the page gave up after half a minute, and "Try again" paid for a second response.
test('a response is taken up again after a gap of 40 seconds', { timeout: 600_000 }, async () => {
  const ann = await start('ann@example.com');
  await send(ann, 'Tell me something long.');
  const call = await typist.next();
  call.send('Before. ');
  await answers(ann).getByText('Before.').waitFor();
  relay.cut();
  await ann.locator('#connection').waitFor();
  call.send('Meanwhile. ');
  await pause(40_000);
  assert.equal(await ann.locator('.answer').getAttribute('aria-busy'), 'true', 'the page still waits');
  assert.equal(await ann.getByRole('button', { name: 'Try again' }).count(), 0);
  relay.restore();
  // No event tells the page: its own timer does.
  await answers(ann).getByText('Before. Meanwhile.').waitFor();
  await ann.locator('#connection').waitFor({ state: 'hidden' });
  call.send('After.');
  call.end();
  await ended(ann);
  assert.equal((await answers(ann).innerText()).trim(), 'Before. Meanwhile. After.');
  assert.equal(paid('ann@example.com'), 1);
});

test('a response that ended during the gap is shown, and the draft stays', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com');
  await send(bob, 'Question');
  const call = await typist.next();
  call.send('The start');
  await answers(bob).getByText('The start').waitFor();
  await stopClock(bob);
  relay.cut();
  await bob.locator('#connection').waitFor();
  await bob.locator('#question').fill('What I type next');
  call.send(' and the end.');
  call.end();
  relay.restore();
  // Coming back to the page ends the pause before the next attempt; its time doesn't.
  await bob.evaluate(() => window.dispatchEvent(new Event('focus')));
  await answers(bob).getByText('The start and the end.').waitFor();
  await ended(bob);
  assert.equal(await bob.locator('#question').inputValue(), 'What I type next');
  assert.equal(paid('bob@example.com'), 1);
});

test('a message whose response never arrived is sent once', { timeout: 600_000 }, async () => {
  const cid = await start('cid@example.com');
  relay.mute();
  await send(cid, 'Are you there?');
  const call = await typist.next();
  call.send('Yes.');
  await pause(1_000);
  relay.cut(); // The connection on which the response was lost breaks.
  relay.restore();
  await answers(cid).getByText('Yes.').waitFor();
  call.end();
  await ended(cid);
  await cid.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  assert.equal(paid('cid@example.com'), 1);
  assert.equal(await cid.locator('.user-message').count(), 1);
});

test('the page says whether the browser is offline', { timeout: 600_000 }, async () => {
  const eli = await start('eli@example.com');
  const offline = eli.getByRole('status').filter({ hasText: 'You are offline.' });
  assert.equal(await offline.isVisible(), false);
  await eli.context().setOffline(true);
  await eli.getByText('You are offline. The chat continues when you are back online.').waitFor();
  assert.equal(await eli.getByText('Reconnecting…').isVisible(), false);
  await eli.context().setOffline(false);
  await eli.locator('#connection').waitFor({ state: 'hidden' });
});

test('a message sent while offline is sent later, and Stop gives it back', { timeout: 600_000 }, async () => {
  const dot = await start('dot@example.com');
  // Only the event tells the page that the connection is back.
  await stopClock(dot);
  relay.cut();
  await send(dot, 'Sent in a tunnel');
  await dot.locator('#connection').waitFor();
  relay.restore();
  await dot.evaluate(() => window.dispatchEvent(new Event('online')));
  let call = await typist.next();
  call.send('Out again.');
  call.end();
  await answers(dot).getByText('Out again.').waitFor();
  await ended(dot);
  relay.cut();
  await send(dot, 'Never mind');
  await dot.locator('#connection').getByText('Reconnecting…').waitFor();
  await dot.getByRole('button', { name: 'Stop' }).click();
  relay.restore();
  await dot.evaluate(() => window.dispatchEvent(new Event('online')));
  await dot.waitForFunction(() => document.querySelector('#question').value === 'Never mind');
  assert.equal(paid('dot@example.com'), 1);
});

test('a silent connection is given up for a new one, sooner when the user comes back', { timeout: 600_000 }, async () => {
  const eli = await start('hal@example.com');
  let resumed = 0;
  eli.on('request', (request) => { if (request.url().includes('/events?')) resumed += 1; });
  // The page also loads the quota then. Its response must not be what the relay loses next.
  const comeBack = async () => {
    const quota = eli.waitForResponse('**/api/quota');
    await eli.evaluate(() => window.dispatchEvent(new Event('focus')));
    await (await quota).finished();
  };
  await stopClock(eli);
  await send(eli, 'Question');
  const call = await typist.next();
  call.send('One. ');
  await answers(eli).getByText('One.').waitFor();
  // A connection that was heard a moment ago is kept.
  await comeBack();
  let lost = relay.mute();
  call.send('Two. ');
  await lost;
  // The connection stays open and silent; only new ones work.
  relay.restore();
  await eli.clock.fastForward(13_000); // A heartbeat is overdue.
  assert.equal(resumed, 0);
  await comeBack();
  await answers(eli).getByText('One. Two.').waitFor();
  assert.equal(resumed, 1);
  // Nobody comes back.
  lost = relay.mute();
  call.send('Three.');
  await lost;
  relay.restore();
  await eli.clock.fastForward(31_000);
  await answers(eli).getByText('One. Two. Three.').waitFor();
  assert.equal(resumed, 2);
  call.end();
  await ended(eli);
  assert.equal(paid('hal@example.com'), 1);
});

test('a slow and late connection shows the whole response', { timeout: 600_000 }, async () => {
  const flo = await start('flo@example.com');
  relay.delay(300);
  relay.throttle(20_000);
  await send(flo, 'Question');
  const call = await typist.next();
  for (let line = 0; line < 60; line += 1) call.send(`- item ${line} with **bold** text\n`);
  call.send('\nThe end');
  call.end();
  await answers(flo).getByText('The end').waitFor();
  await ended(flo);
  assert.equal(await flo.locator('.answer.live li').count(), 60);
  relay.restore();
  const streamed = await answers(flo).innerHTML();
  await flo.reload();
  await woken(flo);
  assert.equal(await answers(flo).innerHTML(), streamed);
});

// Field note 83, on another device: without a channel between the tabs.
test('another device catches up when it is looked at, and regenerates there', { timeout: 600_000 }, async () => {
  const gil = await start('gil@example.com');
  await send(gil, 'First');
  let call = await typist.next();
  call.send('one');
  call.end();
  await ended(gil);
  const other = await browser.visitor({ quiet: true, storageState: await gil.context().storageState() });
  await other.goto(gil.url());
  await woken(other);
  await send(gil, 'Second');
  call = await typist.next();
  call.send('two');
  await answers(gil).getByText('two').waitFor();
  assert.equal(await other.locator('.user-message').count(), 1);
  await other.evaluate(() => window.dispatchEvent(new Event('focus')));
  await other.locator('.user-message', { hasText: 'Second' }).waitFor();
  await answers(other).getByText('two').waitFor();
  call.end();
  await ended(other);
  await ended(gil);
  // The other device shows an older state again: Regenerate there answers the question that it shows once more, in a branch of its own.
  await send(gil, 'Third');
  call = await typist.next();
  call.send('three');
  call.end();
  await ended(gil);
  const before = paid('gil@example.com');
  await other.locator('.answer').last().getByRole('button', { name: 'Regenerate', exact: true }).click();
  call = await typist.next();
  call.send('another two');
  call.end();
  await answers(other).getByText('another two').waitFor();
  await ended(other);
  assert.equal(paid('gil@example.com'), before + 1);
  assert.equal(await answers(other).getByText('two', { exact: true }).count(), 0);
  // Messages that are loaded when the first device is looked at, and arrive after another one was sent, don't take its place.
  let arrive;
  const sent = new Promise((done) => { arrive = done; });
  await gil.route('**/messages', async (route) => { await sent; await route.continue(); });
  const requested = gil.waitForRequest('**/messages');
  await gil.evaluate(() => window.dispatchEvent(new Event('focus')));
  await requested;
  await send(gil, 'Fourth');
  call = await typist.next();
  const loaded = gil.waitForResponse('**/messages');
  arrive();
  await (await loaded).finished();
  call.send('four');
  await answers(gil).getByText('four').waitFor();
  // The other device loads them while a message is edited there. The text and the focus stay.
  const edited = other.locator('.user-message').first();
  await edited.hover();
  await edited.getByRole('button', { name: 'Edit message' }).click();
  const box = other.getByRole('textbox', { name: 'Edit message' });
  await box.fill('First, changed');
  // Events that follow within a second are ignored.
  await other.waitForFunction(() => {
    window.dispatchEvent(new Event('focus'));
    return [...document.querySelectorAll('.user-message')].some((message) => message.dataset.source === 'Fourth');
  }, null, { polling: 1_500 });
  await answers(other).getByText('four').waitFor();
  assert.equal(await box.inputValue(), 'First, changed');
  assert.ok(await box.evaluate((element) => element === document.activeElement));
  // It is sent only after the response in progress, and says so.
  await box.press('Enter');
  await other.locator('#toast').getByText('A response is in progress.').waitFor();
  assert.equal(await box.inputValue(), 'First, changed');
  call.end();
  await ended(gil);
  await ended(other);
  assert.ok(await gil.locator('.user-message', { hasText: 'Fourth' }).isVisible());
});
