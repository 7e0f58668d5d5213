// API keys in a browser: a key is created, shown once, copied, limited, paused and revoked; the same works without JavaScript.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { appeared, inspect, recordTexts, shots, signUp, startApp, startBrowser, unreached } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const shot = (page, name) => page.screenshot({ path: join(shots, `keys-${name}.png`), fullPage: true });
const button = (page, name) => page.getByRole('button', { name });

test('a key is created, copied once, limited, paused and revoked', { timeout: 600_000 }, async () => {
  browser.complaints.length = 0;
  const page = await browser.visitor();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: app.url });
  await signUp(page, app, 'ann@example.com', 'Ann');
  await page.goto(`${app.url}/settings/keys`);
  await page.getByText('You have no API keys yet.').waitFor();
  await page.getByText('Limits and access').click();
  await page.getByLabel('Name').fill('Editor');
  await page.getByLabel('Requests per minute').fill('many');
  await button(page, 'Create key').click();
  // What was entered is still there, beside what is wrong with it.
  await page.getByText('Enter a whole number above zero').waitFor();
  assert.equal(await page.getByLabel('Name').inputValue(), 'Editor');
  await page.getByLabel('Requests per minute').fill('5');
  await button(page, 'Create key').click();
  const secret = await page.locator('#new-key').textContent();
  assert.match(secret, /^sk-[a-z0-9]+-[\w-]{43}$/);
  await shot(page, '1-new');
  await recordTexts(page, 'main');
  await button(page, 'Copy the API key').click();
  await appeared(page, 'Copied');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
  await page.getByText('Anthropic SDK', { exact: true }).first().click();
  assert.ok((await page.locator('#snippet-anthropic').textContent()).includes(`base_url="${app.url}"`));

  await page.getByRole('link', { name: 'I\'ve saved it' }).click();
  await page.getByText('Not used yet.').waitFor();
  assert.ok(!(await page.content()).includes(secret), 'it is shown once');
  await page.getByText("You've reached your plan's limit of API keys.").waitFor();
  await shot(page, '2-list');
  await page.getByRole('link', { name: 'Edit the key Editor' }).click();
  assert.equal(await page.getByLabel('Requests per minute').inputValue(), '5');
  await page.getByLabel('Dollars per month').fill('2.50');
  await button(page, 'Save changes').click();
  await page.getByText('The API key was saved.').waitFor();
  await page.goto(`${app.url}/settings/keys/${app.query('select api_key_id from api_key')[0][0]}/pause`);
  await button(page, 'Pause key').click();
  await page.getByText('The API key is paused.').waitFor();
  await button(page, 'Resume the key Editor').click();
  await page.getByText('The API key works again.').waitFor();
  await page.getByRole('link', { name: 'Edit the key Editor' }).click();
  await shot(page, '3-edit');
  await button(page, 'Revoke key').click();
  await page.getByText('The API key was revoked.').waitFor();
  assert.deepEqual(app.query('select dollars_per_month, revoked_at is not null from api_key'), [['2.50', 't']]);
  assert.deepEqual(browser.complaints, []);
});

test('the pages are accessible, fit a phone and are reached by the keyboard', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  await signUp(page, app, 'olive@example.com', 'Olive');
  await page.goto(`${app.url}/settings/keys`);
  await page.getByText('Limits and access').click();
  await inspect(page);
  await page.getByLabel('Name').fill('Averylongnamewithoutanybreaksthatmustwrapinitsrow');
  await button(page, 'Create key').click();
  await page.locator('#new-key').waitFor();
  await inspect(page);
  await page.goto(`${app.url}/settings/keys`);
  await inspect(page);
  const id = app.query("select api_key_id from api_key where name like 'Avery%'")[0][0];
  for (const path of ['', '/pause']) {
    await page.goto(`${app.url}/settings/keys/${id}${path}`);
    await inspect(page);
  }
  assert.deepEqual(await unreached(page), []);
});

test('a key is created without JavaScript', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  await signUp(page, app, 'bob@example.com', 'Bob');
  const state = await page.context().storageState();
  const plain = await browser.visitor({ javaScriptEnabled: false, storageState: state });
  await plain.goto(`${app.url}/settings/keys`);
  await plain.getByLabel('Name').fill('Script');
  await button(plain, 'Create key').click();
  assert.match(await plain.locator('#new-key').textContent(), /^sk-/);
  assert.equal(await button(plain, 'Copy the API key').count(), 0, 'a button that would do nothing is hidden');
});
