// Billing in a browser: a paid plan applies to the next message, and a canceled plan ends with its period.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { cookiesOf, send, shots, signUp, startBrowser, startApp, verify, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp();
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const shot = (page, name) => page.screenshot({ path: join(shots, `billing-${name}.png`), fullPage: true });
const left = async (page, name) => Number(await page.getByRole('meter', { name }).getAttribute('aria-valuenow'));

// Reloads a page until it shows a text, because Stripe events arrive asynchronously.
async function shows(page, path, text) {
  for (;;) {
    await page.goto(app.url + path);
    if (await page.getByText(text).count()) return;
  }
}

test('from the limit to a paid plan and back', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await signUp(ann, app, 'ann@example.com', 'Ann');
  await woken(ann);
  for (let n = 1; n <= 2; n += 1) {
    await send(ann, `{{words:30}} ${n}`);
    await ann.locator('.answer.live .byline').nth(n - 1).waitFor();
  }
  // More requests than that may take longer than the minute in which they count.
  app.query("update plan set requests_per_minute = 1 where plan_id = 'free'");
  await send(ann, 'One more, please {{words:4}}');
  const card = ann.locator('.refusal');
  await card.waitFor();
  const used = 50_000 - await left(ann, 'Tokens');
  const conversation = ann.url();

  // A second window of the same user stays open meanwhile.
  const other = await ann.context().newPage();
  await other.goto(conversation);
  await woken(other);

  await card.getByRole('link', { name: 'See plans with higher limits' }).click();
  await ann.waitForURL('**/pricing?plan=pro*');
  await shot(ann, '1-pricing');
  await ann.getByRole('button', { name: 'Start 7-day free trial' }).click();
  await ann.waitForURL(`${app.stripeUrl}/pay/**`);
  await ann.getByText('Stripe simulator, no money moves').waitFor();
  await shot(ann, '2-checkout');
  await ann.getByLabel('Card number').fill('4000 0000 0000 0002');
  await ann.getByRole('button', { name: 'Subscribe' }).click();
  await ann.getByText('Your card was declined.').waitFor();
  await ann.getByLabel('Card number').fill('4242 4242 4242 4242');
  await ann.getByRole('button', { name: 'Subscribe' }).click();
  await ann.waitForURL('**/settings/billing?from=checkout');
  await ann.getByText('You are on Pro.').waitFor();
  assert.equal(await left(ann, 'Tokens'), 500_000 - used, 'usage is kept across the upgrade');
  await shot(ann, '3-billing');

  // The window that stayed open shows the new limit when it gets the focus, and its next message runs.
  await other.bringToFront();
  await other.evaluate(() => window.dispatchEvent(new Event('focus')));
  await other.waitForFunction(() => {
    const meter = document.querySelector('[role=meter][aria-label*=Tokens]');
    return Number(meter?.getAttribute('aria-valuemax')) === 500000;
  });
  await send(other, 'One more, please {{words:4}}');
  await other.locator('.answer.live .byline').waitFor();

  // A plan canceled in the portal is kept until the period ends.
  await ann.goto(`${app.url}/settings/billing`);
  await ann.getByRole('button', { name: 'Manage billing' }).click();
  await ann.waitForURL(`${app.stripeUrl}/portal/**`);
  await ann.getByRole('button', { name: 'Cancel at end of period' }).click();
  await ann.getByRole('button', { name: 'Resume subscription' }).waitFor();
  await shot(ann, '4-portal');
  await ann.getByRole('link', { name: 'Back' }).click();
  await ann.waitForURL('**/settings/billing');
  await ann.getByText(/move to Free/).waitFor();
  await shot(ann, '5-cancelled');
  await app.stripe('clock', { days: 8 });
  await shows(ann, '/settings/billing', /Pro ended on/);
  assert.equal((await (await ann.request.get(`${app.url}/api/quota`)).json()).plan, 'free');
  await shows(ann, '/dev/outbox', 'Your Pro plan has ended');
  assert.deepEqual(browser.complaints, []);
});

test('an overdue payment is shown on every page and can be paid in the portal', { timeout: 600_000 }, async () => {
  const bob = await browser.visitor({ colorScheme: 'dark' });
  await signUp(bob, app, 'bob@example.com', 'Bob');
  await bob.goto(`${app.url}/pricing?plan=max&interval=year`);
  await bob.getByRole('button', { name: 'Upgrade to Max' }).click();
  await bob.getByLabel('Card number').fill('4000 0000 0000 0341');
  await bob.getByRole('button', { name: 'Subscribe' }).click();
  await bob.getByText('You are on Max.').waitFor();
  await bob.getByText(/\$1,000 a year\. Renews on/).waitFor();
  await app.stripe('clock', { days: 366 });
  await shows(bob, '/usage', 'Your last payment');
  await bob.goto(`${app.url}/settings/billing`);
  await shot(bob, '6-overdue-dark');
  await bob.getByRole('main').getByRole('button', { name: 'Update card' }).click();
  await bob.getByLabel('Card number').fill('4242 4242 4242 4242');
  await bob.getByRole('button', { name: 'Update card' }).click();
  await bob.getByRole('link', { name: 'Back' }).click();
  await bob.waitForURL('**/settings/billing');
  assert.equal(await bob.locator('.banner').count(), 0);
  assert.deepEqual(browser.complaints, []);
});

test('buying a plan works without JavaScript, starting signed out', { timeout: 600_000 }, async () => {
  const zoe = await browser.visitor({ javaScriptEnabled: false });
  await zoe.goto(`${app.url}/pricing`);
  await zoe.getByRole('link', { name: 'Yearly' }).click();
  await zoe.getByRole('link', { name: 'Start with Max' }).click();
  await zoe.getByLabel('Email').fill('zoe@example.com');
  await zoe.getByLabel('Password').fill('correct horse battery');
  await zoe.getByRole('button', { name: 'Create account' }).click();
  await zoe.waitForURL('**/pricing?plan=max&interval=year');
  // A trial belongs to an address, so it is confirmed first.
  await zoe.getByRole('button', { name: 'Upgrade to Max' }).click();
  await zoe.getByText('Confirm your email address before you choose a plan.').waitFor();
  await verify(app, 'zoe@example.com', await cookiesOf(zoe, app));
  await zoe.goto(`${app.url}/pricing?plan=max&interval=year`);
  await zoe.getByRole('button', { name: 'Upgrade to Max' }).click();
  await zoe.getByRole('button', { name: 'Subscribe' }).click();
  await zoe.getByText('You are on Max.').waitFor();
});
