// The site for visitors in a browser: the live demo, the theme, and a plan from the pricing page to its checkout.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { inspect, mailTo, password, release, shots, startApp, startBrowser, verify } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp();
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const shot = (page, name) => page.screenshot({ path: join(shots, `landing-${name}.png`) });

test('the demo answers on the landing page without wasm, until its limit', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(app.url);
  await shot(page, '1-hero');
  const thread = page.locator('#demo-thread');
  const height = (await thread.boundingBox()).height;
  // A suggested question, answered with HTML that the server has rendered.
  await page.getByRole('button', { name: /in a table/ }).click();
  await thread.getByText('Want to continue?').waitFor();
  assert.equal(await thread.locator('.markdown').getAttribute('aria-busy'), 'false');
  assert.ok(await thread.locator('.markdown table').count() > 0, await thread.innerHTML());
  assert.match(await thread.locator('.demo-question').innerText(), /in a table/);
  assert.equal(await page.locator('#demo-status').innerText(), 'The answer is complete.');
  assert.equal((await thread.boundingBox()).height, height, 'the page does not move');
  await shot(page, '2-answer');
  // Questions of one's own, by keyboard.
  for (let n = 2; n <= 4; n += 1) {
    await page.locator('#demo-question').fill(`{{words:4}} <b>question</b> ${n}`);
    await page.locator('#demo-question').press('Enter');
    await thread.getByText('word4').waitFor();
    await thread.getByText('Want to continue?').waitFor();
    assert.match(await thread.locator('.demo-question').innerText(), new RegExp(`<b>question</b> ${n}$`), 'text, not HTML');
  }
  await page.locator('#demo-question').fill('One more, please');
  await page.locator('#demo-question').press('Enter');
  await thread.getByText('You have reached the demo\'s limit for now.').waitFor();
  assert.equal(await page.locator('#demo-question').inputValue(), 'One more, please', 'the question can be sent again');
  assert.equal(await thread.getByRole('link', { name: 'Create account' }).getAttribute('href'), '/sign-up');
  await shot(page, '3-used-up');
  assert.deepEqual(requests.filter((url) => url.includes('.wasm') || !url.startsWith(app.url)), []);
  const [[calls, users]] = app.query("select count(*), count(user_id) from ai_usage where purpose = 'demo'");
  assert.deepEqual([calls, users], ['4', '0']);
  assert.deepEqual(browser.complaints, []);
});

test('without JavaScript the demo leads to the sign-up, and themes work', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ javaScriptEnabled: false });
  await page.goto(app.url);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.waitForURL('**/sign-up*');
  await page.goto(`${app.url}/pricing?interval=year`);
  await page.getByRole('button', { name: 'Dark theme' }).click();
  await page.locator('html[data-theme="dark"]').waitFor();
  assert.ok(page.url().endsWith('/pricing?interval=year'), page.url());
  await page.getByRole('button', { name: 'System theme' }).click();
  await page.locator('html:not([data-theme])').waitFor();
});

test('the models and their prices are readable on phones, also at twice the text size', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  await page.goto(app.url);
  const table = page.getByRole('region', { name: 'Models and prices' });
  for (const size of ['100%', '200%']) {
    await page.evaluate((fontSize) => { document.documentElement.style.fontSize = fontSize; }, size);
    for (const width of [390, 320]) {
      await page.setViewportSize({ width, height: 800 });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `the page is ${over} px too wide at ${width} px and ${size}`);
      const cut = await table.evaluate((box) => box.scrollWidth - box.clientWidth);
      assert.ok(cut <= 0, `${cut} px of the table are cut at ${width} px and ${size}`);
    }
  }
  const heads = await table.locator('tbody tr').first().locator('td').evaluateAll((cells) =>
    cells.map((cell) => getComputedStyle(cell, '::before').content));
  assert.deepEqual(heads, ['"Plans"', '"Per million tokens read"', '"Per million tokens written"', '"One page and its answer"']);
  await shot(page, '5-models-on-a-phone');
});

test('touch targets on the site are at least 44 px high', { timeout: 600_000 }, async () => {
  const phone = await browser.visitor({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, quiet: true });
  for (const path of ['/', '/pricing', '/sign-in', '/sign-up', '/status', '/help/limits', '/nothing']) {
    await phone.goto(app.url + path);
    const small = await phone.evaluate(() => [...document.querySelectorAll('button, .button, nav a, footer li > a, .auth-links a, summary')]
      .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 43.5)
      .map((element) => `${element.innerText || element.ariaLabel}: ${element.getBoundingClientRect().height} px`));
    assert.deepEqual(small, [], path);
  }
});

test('a chosen theme overrides the system and stays', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ colorScheme: 'light' });
  await page.goto(app.url);
  const canvas = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await canvas();
  await page.getByRole('button', { name: 'Dark theme' }).click();
  await page.locator('html[data-theme="dark"]').waitFor();
  const dark = await canvas();
  assert.notEqual(dark, light);
  for (const path of ['/pricing', '/sign-in', '/nothing']) {
    await page.goto(app.url + path);
    assert.equal(await canvas(), dark, path);
    assert.equal(await page.getByRole('button', { name: 'Dark theme' }).getAttribute('aria-pressed'), 'true');
  }
  assert.deepEqual(browser.complaints, []);
});

test('the rows of the plans align and stay where they are from month to year', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  const positions = async (path) => {
    await page.goto(app.url + path);
    const boxes = await page.locator('.plan').evaluateAll((plans) => plans.map((plan) =>
      [...plan.children].map((child) => Math.round(child.getBoundingClientRect().top + window.scrollY))));
    assert.equal(boxes.length, 3);
    return boxes;
  };
  const monthly = await positions('/pricing');
  assert.deepEqual(monthly[0], monthly[1], 'the rows of two plans');
  assert.deepEqual(monthly[1], monthly[2], 'the rows of two plans');
  assert.deepEqual(await positions('/pricing?interval=year'), monthly);
  assert.ok(await page.getByText('Most popular').isVisible());
});

test('a chosen plan is kept through sign-up and confirmation to its checkout', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await ann.goto(`${app.url}/pricing`);
  await ann.getByRole('link', { name: 'Yearly' }).click();
  await ann.getByRole('link', { name: 'Start with Max' }).click();
  await ann.getByText('$1,000 a year').waitFor();
  await ann.getByLabel('Email').fill('ann@example.com');
  await ann.getByLabel('Password').fill(password);
  await shot(ann, '4-sign-up');
  await ann.getByRole('button', { name: 'Create account' }).click();
  await ann.waitForURL('**/pricing?plan=max&interval=year');
  if (release) {
    await verify(app, 'ann@example.com');
    await ann.reload();
  } else {
    await ann.getByRole('link', { name: 'Enter the code' }).click();
    await ann.getByText('$1,000 a year').waitFor();
    const { text, link } = await mailTo(app, 'ann@example.com', 'Confirm your email address');
    assert.match(link, /&next=%2Fpricing%3Fplan%3Dmax/);
    await ann.getByLabel('Code').fill(text.match(/^\s*(\d{6})\s*$/m)[1]);
    await ann.getByRole('button', { name: 'Confirm', exact: true }).click();
    await ann.waitForURL('**/pricing?plan=max&interval=year');
  }
  await ann.getByRole('button', { name: 'Upgrade to Max' }).click();
  await ann.waitForURL(`${app.stripeUrl}/pay/**`);
  // Whoever is signed in never sees the forms.
  await ann.goto(`${app.url}/sign-in`);
  await ann.waitForURL('**/chat');
  await ann.goto(`${app.url}/sign-up?plan=pro&interval=month`);
  await ann.waitForURL('**/pricing?plan=pro&interval=month');
  assert.deepEqual(browser.complaints, []);
});

test('the landing page is accessible after a question, in both themes', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  await page.goto(app.url);
  await page.locator('#demo-question').fill('How do I end a lease?');
  await page.locator('#demo-question').press('Enter');
  await page.locator('#demo-thread .demo-more').waitFor();
  for (const question of await page.locator('.questions summary').all()) await question.click();
  await inspect(page);
});
