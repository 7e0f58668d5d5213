// Search: the palette and the page, with and without JavaScript, on desktop and phone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { inspect, send, shots, signUp, startApp, startBrowser, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

async function start(email, options = {}) {
  const page = await browser.visitor({ quiet: true, ...options });
  await signUp(page, app, email);
  await woken(page);
  for (const text of ['{{words:2}} When does my Mietvertrag end?', '{{words:2}} A poem about autumn']) {
    await page.goto(`${app.url}/chat`);
    await woken(page);
    await send(page, text);
    await page.locator('.answer .byline').waitFor();
  }
  return page;
}

test('the palette lists recent conversations, finds while typing and opens a message', { timeout: 600_000 }, async () => {
  const ann = await start('ann@example.com');
  await ann.keyboard.press('Control+k');
  const palette = ann.locator('#palette');
  await palette.waitFor();
  // While the field is empty it lists recent conversations, without a request. The open one isn't among them.
  const searches = [];
  ann.on('request', (request) => { if (request.url().includes('/search/results')) searches.push(request.url()); });
  const recent = palette.locator('section', { hasText: 'Recent conversations' }).locator('a');
  await recent.first().waitFor();
  const links = await recent.evaluateAll((all) => all.map((link) => link.getAttribute('href')));
  const listed = await ann.locator('#conversations .entry-link:not([aria-current])').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
  assert.equal(links.length, 1);
  assert.deepEqual(links, listed);
  await inspect(ann);
  await ann.keyboard.press('ArrowDown');
  assert.equal(await ann.evaluate(() => document.activeElement.getAttribute('href')), links[0]);
  await ann.keyboard.press('ArrowUp');
  await ann.keyboard.type('mietv');
  await palette.locator('mark').filter({ hasText: 'Mietv' }).first().waitFor();
  await inspect(ann);
  await ann.screenshot({ path: join(shots, 'search-palette.png') });
  assert.equal(await recent.count(), 0);
  assert.ok(searches.length > 0);
  const before = searches.length;
  await ann.locator('#palette-text').fill('');
  await recent.first().waitFor();
  assert.equal(searches.length, before);
  await ann.keyboard.type('mietv');
  await palette.locator('mark').filter({ hasText: 'Mietv' }).first().waitFor();
  await ann.keyboard.press('ArrowDown');
  await ann.keyboard.press('ArrowUp');
  assert.equal(await ann.evaluate(() => document.activeElement.id), 'palette-text');
  await palette.locator('a[href*="message="]').first().click();
  await ann.waitForURL(/\/chat\/[0-9a-f-]{36}\?message=[0-9a-f-]{36}#m-/);
  await ann.locator('.user-message').getByText('Mietvertrag').waitFor();
  await woken(ann);
  await ann.keyboard.press('Control+k');
  await palette.waitFor();
  await ann.keyboard.press('Escape');
  await palette.waitFor({ state: 'hidden' });
  // Phones have no Escape, and not all browsers close a dialog by a click outside.
  await ann.keyboard.press('Control+k');
  await palette.getByRole('button', { name: 'Close' }).click();
  await palette.waitFor({ state: 'hidden' });
  // Enter opens a recent conversation.
  await ann.keyboard.press('Control+k');
  await recent.first().waitFor();
  const other = await recent.first().getAttribute('href');
  await ann.keyboard.press('ArrowDown');
  await ann.keyboard.press('Enter');
  await ann.waitForURL(app.url + other);
  await woken(ann);
  // The link in the sidebar opens it too, and Enter leads to the page with all results.
  await ann.locator('#sidebar [data-search]').click();
  await palette.waitFor();
  await ann.locator('#palette-text').fill('autumn');
  await ann.keyboard.press('Enter');
  await ann.waitForURL(/\/search\?q=autumn$/);
  await ann.locator('mark').filter({ hasText: 'autumn' }).first().waitFor();
});

test('the search page works without JavaScript and on a phone', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com');
  const plain = await browser.visitor({ quiet: true, javaScriptEnabled: false, viewport: { width: 390, height: 844 } });
  await plain.context().addCookies(await bob.context().cookies());
  await plain.goto(`${app.url}/search`);
  await plain.locator('#q').fill('poem autumn');
  await plain.getByRole('button', { name: 'Search' }).click();
  await plain.locator('mark').filter({ hasText: 'poem' }).first().waitFor();
  await plain.locator('#q').fill('nothing-like-it');
  await plain.getByRole('button', { name: 'Search' }).click();
  await plain.getByText('Nothing found for').waitFor();
  const phone = await bob.context().newPage();
  await phone.setViewportSize({ width: 390, height: 844 });
  await phone.goto(`${app.url}/search?q=mietvertrag`);
  await inspect(phone);
  for (const colorScheme of ['light', 'dark']) {
    await phone.emulateMedia({ colorScheme });
    await phone.screenshot({ path: join(shots, `search-phone-${colorScheme}.png`) });
  }
});
