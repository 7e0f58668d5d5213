// Every page in both themes: accessible according to axe, no horizontal overflow, no console or policy errors.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { appeared, inspect, recordTexts, send, signUp, signUpByForm, startBrowser, startApp, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ provider: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

// Field note 40.
test('axe finds no violations and no page overflows its width', { timeout: 600_000 }, async () => {
  // The policy blocks the styles and requests that axe injects, so errors of this page are ignored.
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  for (const path of ['/', '/pricing', '/sign-in', '/sign-up', '/sign-up?next=%2Fpricing%3Fplan%3Dpro', '/forgot', '/forgot?sent', '/reset?token=x',
    '/verify?token=x', '/email/undo?token=x', '/nothing', '/terms', '/help', '/help/limits', '/blog/what-a-token-is', '/changelog', '/status']) {
    await inspectAt(page, path);
  }
  await signUp(page, app, 'olive@example.com', 'Olive');
  await woken(page);
  await inspect(page);
  await send(page, 'Show me a table');
  await page.locator('.answer.live .byline').waitFor();
  await inspect(page);
  await page.reload();
  await woken(page);
  await inspect(page);
  await inspectAt(page, '/usage');
  for (const path of ['/search?q=table', '/search?q=', '/chat/archived']) await inspectAt(page, path);
  for (const path of ['', '/chat', '/security', '/keys', '/billing', '/data', '/shares', '/import']) await inspectAt(page, `/settings${path}`);
  await inspectAt(page, '/sign-in/confirm');
  await inspectAt(page, '/pricing?interval=year');
  app.run('admin', 'add', 'olive@example.com');
  // The report shows the users of this test once it is refreshed.
  await page.goto(`${app.url}/admin`);
  await page.getByRole('button', { name: 'Refresh' }).click();
  await page.getByRole('link', { name: '@example.com' }).first().waitFor();
  await inspectAt(page, '/admin');
  for (const path of ['models', 'providers', 'providers?edit=anthropic', 'providers?edit=', 'health', 'users', 'plans', 'audit', 'audit?page=9']) {
    await page.goto(`${app.url}/admin/${path}`);
    // Opens collapsed sections, which are inspected too.
    for (const folded of await page.locator('main summary').all()) await folded.click();
    await inspect(page);
  }
  // The form of a new price opens above the page.
  await page.goto(`${app.url}/admin/models`);
  await page.getByRole('button', { name: 'New price of' }).first().click();
  await page.getByRole('button', { name: 'Add price' }).waitFor();
  await inspect(page);
  await page.goto(`${app.url}/admin`);
  await page.getByRole('link', { name: '@example.com' }).first().click();
  await page.getByRole('button', { name: 'Set plan' }).waitFor();
  for (const action of await page.locator('.acts summary').all()) await action.click();
  await inspect(page);
});

// WCAG 1.4.4: text of twice the size fits on the pages of accounts and of the owner, whose tables scroll by themselves.
test('text of twice the size fits on phones and screens', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  await signUp(page, app, 'large@example.com', 'Lara');
  await woken(page);
  await send(page, 'Show me a table');
  await page.locator('.answer.live .byline').waitFor();
  app.run('admin', 'add', 'large@example.com');
  await page.goto(`${app.url}/admin`);
  await page.getByRole('button', { name: 'Refresh' }).click();
  await page.getByRole('link', { name: 'large@example.com', exact: true }).waitFor();
  for (const path of ['/admin', '/admin/users', '/admin/audit', '/usage', '/settings', '/settings/security', '/settings/keys', '/settings/billing', '/settings/data']) {
    await page.goto(app.url + path);
    await page.evaluate(() => { document.documentElement.style.fontSize = '200%'; });
    for (const width of [390, 768, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `${path} is ${over} px too wide at ${width}`);
    }
  }
});

test('pages cause no console or policy errors', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  for (const path of ['/', '/pricing', '/sign-in', '/forgot', '/reset?token=x']) await page.goto(app.url + path);
  await signUpByForm(page, app, 'third@example.com');
  await woken(page);
  for (const path of ['/usage', '/pricing', '/settings', '/settings/chat', '/settings/security', '/settings/billing', '/settings/data', '/chat']) await page.goto(app.url + path);
  await woken(page);
  assert.deepEqual(browser.complaints, []);
});

async function inspectAt(page, path) {
  await page.goto(app.url + path);
  await inspect(page);
}

test('the demo model is labeled and answers with code that can be copied', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  await signUp(page, app, 'demo@example.com');
  await woken(page);
  assert.equal(await page.locator('#model option:checked').textContent(), 'Demo model');
  await page.getByRole('button', { name: 'Write some code' }).click();
  await page.locator('#question').press('Enter');
  await page.locator('figure.code').first().waitFor();
  await page.locator('.answer.live .byline').waitFor();
  await recordTexts(page, 'figure.code');
  await page.locator('figure.code [data-copy]').first().click();
  await appeared(page, 'Copied');
  // Shift+Enter inserts a line break.
  await page.locator('#question').fill('one');
  await page.locator('#question').press('Shift+Enter');
  assert.equal(await page.locator('#question').inputValue(), 'one\n');
  assert.deepEqual(browser.complaints, []);
});
