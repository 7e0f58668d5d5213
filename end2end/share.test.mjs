// Shared links, downloads of a conversation and imports, on a desktop, on a phone and without JavaScript.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inspect, send, shots, signUp, startApp, startBrowser, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await app?.stop();
});

const shot = (page, name) => page.screenshot({ path: join(shots, `share-${name}.png`), fullPage: true });
const phone = { viewport: { width: 390, height: 844 } };

async function download(page, name) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name }).click()]);
  return readFileSync(await file.path());
}

test('a conversation is shared, read by others, revoked, downloaded and imported', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor(phone);
  await signUp(ann, app, 'ann@example.com', 'Ann');
  await woken(ann);
  await send(ann, '{{words:5}} A question about clouds');
  await ann.locator('.answer.live .byline').waitFor();
  // The button works in a new conversation, by keyboard.
  await ann.locator('#share-button').press('Enter');
  await ann.getByLabel('Link expires').selectOption('30');
  await ann.getByRole('button', { name: 'Create link' }).press('Enter');
  await ann.locator('#share-result').waitFor();
  await shot(ann, '1-created');
  const link = await ann.getByLabel('Link to the copy').inputValue();
  assert.match(link, /\/share\/[\w-]{43}$/);

  const reader = await browser.visitor({ ...phone, javaScriptEnabled: false });
  await reader.goto(link);
  await reader.getByText('A question about clouds').first().waitFor();
  assert.equal(await reader.getByText('Ann', { exact: true }).count(), 0);
  assert.equal(await reader.locator('meta[name=robots]').getAttribute('content'), 'noindex');
  await shot(reader, '2-copy');
  const seen = await browser.visitor({ quiet: true });
  await seen.goto(link);
  await inspect(seen);

  const exported = await download(ann, 'Download as JSON');
  assert.equal(JSON.parse(exported).messages.length, 2);
  assert.match((await download(ann, 'Download as Markdown')).toString(), /A question about clouds/);
  await ann.getByRole('button', { name: 'Revoke' }).click();
  await ann.getByRole('button', { name: 'Create link' }).waitFor();
  assert.equal((await reader.goto(link)).status(), 404);
  await reader.getByText('it was revoked').waitFor();
  assert.deepEqual(browser.complaints, []);

  const bob = await browser.visitor({ ...phone, quiet: true });
  await signUp(bob, app, 'bob@example.com', 'Bob');
  await bob.goto(`${app.url}/settings/import`);
  await inspect(bob);
  await bob.getByLabel('Export file').setInputFiles({ name: 'a.json', mimeType: 'application/json', buffer: exported });
  await bob.getByRole('button', { name: 'Import' }).click();
  await bob.getByText('Imported 1 conversation with 2 messages.').waitFor();
  await shot(bob, '3-imported');
  await bob.goto(`${app.url}/chat`);
  await woken(bob);
  const title = app.query("select title from conversation where import_hash is not null")[0][0];
  await bob.setViewportSize({ width: 1280, height: 800 });
  await bob.locator('#conversations').getByText(title).first().click();
  await bob.locator('.user-message').getByText('A question about clouds').waitFor();
});

test('links are created, listed and revoked without JavaScript', { timeout: 600_000 }, async () => {
  const cleo = await browser.visitor();
  await signUp(cleo, app, 'cleo@example.com', 'Cleo');
  await woken(cleo);
  await send(cleo, '{{words:3}}');
  await cleo.locator('.answer.live .byline').waitFor();
  const plain = await browser.visitor({ javaScriptEnabled: false });
  await plain.context().addCookies(await cleo.context().cookies());
  await plain.goto(cleo.url());
  await plain.locator('#share-button').click();
  await plain.getByRole('button', { name: 'Create link' }).click();
  const link = await plain.locator('#share-url').inputValue();
  await shot(plain, '4-link');
  await plain.goto(link);
  await plain.locator('.answer').waitFor();
  await plain.goto(`${app.url}/settings/shares`);
  await plain.getByRole('button', { name: 'Revoke' }).click();
  await plain.getByText('The link was revoked.').waitFor();
  assert.equal((await plain.goto(link)).status(), 404);
  await cleo.goto(`${app.url}/settings/shares`);
  await inspect(cleo);
});
