// The owner's settings and actions in a browser: refusals are explained, and running responses finish.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { send, signUp, startBrowser, startApp, unreached, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp();
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

test('with chat switched off the next message is refused and the running response finishes', { timeout: 600_000 }, async () => {
  const owner = await browser.visitor({ quiet: true });
  await signUp(owner, app, 'owner@example.com', 'Olive');
  const ann = await browser.visitor({ quiet: true, timezoneId: 'Asia/Tokyo' });
  await signUp(ann, app, 'ann@example.com', 'Ann');
  await woken(ann);
  const watching = await owner.context().newPage();
  await watching.goto(`${app.url}/admin`);
  await watching.getByText('Now: 0 responses running').waitFor();
  await send(ann, 'A long answer, please {{words:40}}{{hold}}');
  await ann.locator('.answer.live').getByText('word10').waitFor();
  await watching.getByRole('button', { name: 'Refresh' }).click();
  await watching.getByText('Now: 1 response running').waitFor();
  await owner.goto(`${app.url}/admin/models`);
  await owner.getByText('Switch chat off', { exact: true }).click();
  await owner.getByRole('button', { name: 'Confirm' }).click();
  await owner.getByText('Chat is switched off').waitFor();
  await app.release();
  await ann.locator('.answer.live .byline').waitFor();
  await watching.getByRole('button', { name: 'Refresh' }).click();
  await watching.getByText('Now: 0 responses running').waitFor();
  await send(ann, 'And one more?');
  await ann.locator('.refusal').getByText('switched off').waitFor();
  await owner.getByRole('button', { name: 'Switch chat on' }).click();
  await owner.getByText('Switch chat off', { exact: true }).waitFor();

  // A spend cap of zero refuses every message.
  await owner.getByLabel('Daily spend cap in dollars').first().fill('0');
  await owner.getByRole('button', { name: 'Save' }).first().click();
  await owner.waitForLoadState();
  await ann.reload();
  await woken(ann);
  await send(ann, 'Does this pass the cap?');
  await ann.locator('.refusal').waitFor();
  assert.match(await ann.locator('.refusal').innerText(), /today|spend/i);

  // The time zone defaults to the browser's.
  await ann.goto(`${app.url}/settings`);
  assert.equal(await ann.getByLabel('Time zone').inputValue(), 'Asia/Tokyo');
  await ann.goto(`${app.url}/usage`);
  await ann.getByText('Token refill schedule').waitFor();
});

// Signs the owner in with a new browser context.
async function signedIn() {
  const owner = await browser.visitor({ quiet: true });
  await owner.goto(`${app.url}/sign-in`);
  await owner.getByLabel('Email').fill('owner@example.com');
  await owner.getByLabel('Password').fill('correct horse battery');
  await owner.getByRole('button', { name: 'Sign in' }).click();
  await owner.waitForURL('**/chat');
  return owner;
}

test('an action can be taken by keyboard alone, with its reason in the audit', { timeout: 600_000 }, async () => {
  const owner = await signedIn();
  await owner.goto(`${app.url}/admin/users?q=ann`);
  await owner.getByRole('link', { name: 'ann@example.com' }).focus();
  await owner.keyboard.press('Enter');
  await owner.locator('summary', { hasText: 'Pause' }).focus();
  await owner.keyboard.press('Enter');
  await owner.keyboard.press('Tab');
  await owner.keyboard.type('too many of these');
  await owner.keyboard.press('Enter');
  await owner.getByText('Paused since').waitFor();
  await owner.goto(`${app.url}/admin/audit`);
  await owner.getByText('too many of these').waitFor();
});

test('the keyboard alone reaches every action', { timeout: 600_000 }, async () => {
  const owner = await signedIn();
  const [[ann]] = app.query("select user_id from account where email = 'ann@example.com'");
  for (const path of ['/admin', '/admin/users', `/admin/users/${ann}`, '/admin/models', '/admin/providers', '/admin/plans', '/admin/health', '/admin/audit', '/usage', '/settings', '/settings/security',
    '/settings/billing', '/settings/data', '/sign-in/confirm', '/verify']) {
    await owner.goto(app.url + path);
    assert.deepEqual(await unreached(owner), [], path);
  }
});

test('the button that saves a row is in view, however wide its table is', { timeout: 600_000 }, async () => {
  const owner = await signedIn();
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    await owner.setViewportSize({ width, height });
    for (const path of ['/admin/plans', '/admin/models']) {
      await owner.goto(app.url + path);
      const buttons = owner.locator('table.fields button', { hasText: /^Save$/ });
      assert.ok(await buttons.count() > 0, path);
      const hidden = await buttons.evaluateAll((all) => all.map((button) => button.getBoundingClientRect())
        .filter(({ left, right }) => left < 0 || right > window.innerWidth).length);
      assert.equal(hidden, 0, `${path} at ${width}`);
    }
  }
});

test('on a phone the table of the top users scrolls in its frame, beside the names', { timeout: 600_000 }, async () => {
  const owner = await signedIn();
  await owner.setViewportSize({ width: 390, height: 844 });
  await owner.goto(`${app.url}/admin`);
  const frame = owner.getByRole('region', { name: 'Top users' });
  const name = frame.getByRole('rowheader').first();
  await name.waitFor();
  await name.scrollIntoViewIfNeeded();
  const before = await name.boundingBox();
  await frame.evaluate((element) => { element.scrollLeft = element.scrollWidth; });
  const found = await name.evaluate((cell) => {
    const { left, top, width, height } = cell.getBoundingClientRect();
    const shown = [0.1, 0.5, 0.9].every((part) => cell.contains(document.elementFromPoint(left + part * width, top + height / 2)));
    return { left, shown, scrolled: cell.closest('.table-scroll').scrollLeft > 0, fits: document.documentElement.scrollWidth <= window.innerWidth };
  });
  assert.deepEqual(found, { left: before.x, shown: true, scrolled: true, fits: true });
});
