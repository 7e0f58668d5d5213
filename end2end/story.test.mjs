// The main scenario in a browser: sign up, chat, watch the meter, reach the limit, get a larger plan, check the usage pages.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { appeared, password, recordTexts, send, shots, signUp, signUpByForm, startBrowser, startApp, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp();
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); });

const shot = (page, name) => page.screenshot({ path: join(shots, `story-${name}.png`) });
const left = async (page, name) => Number((await page.getByRole('meter', { name }).getAttribute('aria-valuenow')));

test('sign up, chat, reach the limit, get a larger plan, check the usage pages', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await signUpByForm(ann, app, 'ann@example.com', 'Ann');
  await woken(ann);
  assert.equal(await left(ann, 'Requests'), 10);
  await shot(ann, '1-empty');

  // Words appear before the stream ends.
  await send(ann, '{{words:60}}{{pace:5}}{{hold}} Tell me something.');
  await ann.getByText('word10 ').waitFor();
  assert.equal(await ann.locator('.answer.live').getAttribute('aria-busy'), 'true');
  assert.ok(await ann.getByRole('button', { name: 'Stop' }).isVisible());
  assert.match(ann.url(), /\/chat\/[0-9a-f-]{36}$/, 'the conversation has its own URL');
  assert.ok(await left(ann, 'Tokens') < 50_000 - 4_000, 'the output is reserved while the response runs');
  await shot(ann, '2-streaming');
  await app.release();
  await ann.locator('.answer.live .byline').waitFor();
  // Field note 39: aria-busy while words arrive, and one polite announcement at the end.
  assert.equal(await ann.locator('.answer.live').getAttribute('aria-busy'), 'false');
  assert.equal(await ann.locator('#status').innerText(), 'The response is complete.');
  const [served] = await app.served();
  assert.equal(served.output, 120);
  assert.equal((await ann.locator('.answer.live .markdown').innerText()).trim(), served.text.trim());
  // The meter fell by exactly what was used.
  const [[counted]] = app.query('select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) from ai_usage');
  assert.equal(await left(ann, 'Tokens'), 50_000 - Number(counted));
  assert.equal(await left(ann, 'Requests'), 9);

  // The conversation is complete after a reload.
  await ann.reload();
  await woken(ann);
  assert.equal(await ann.getByText('word60').count(), 1);

  // Uses up the requests of the minute. A toast warns before. The limits are low, because ten responses may take longer than a minute.
  const limit = (requests) => app.query(`update plan set requests_per_minute = ${requests} where plan_id = 'free'`);
  limit(4);
  await recordTexts(ann, '#toast');
  await send(ann, '{{words:3}} 2');
  await ann.locator('.answer.live .byline').waitFor();
  await appeared(ann, `${await left(ann, 'Requests')} requests left this minute`);
  await shot(ann, '3-toast');
  limit(1);
  await send(ann, 'One more, please');
  const card = ann.locator('.refusal');
  await card.waitFor();
  assert.match(await card.innerText(), /Rate limit reached/);
  assert.equal(await ann.locator('#question').inputValue(), 'One more, please', 'the draft is kept');
  assert.ok(await card.getByRole('button', { name: 'Send again' }).isDisabled());
  const first = await card.locator('.countdown').innerText();
  await ann.waitForFunction((before) => document.querySelector('.countdown').innerText !== before, first);
  assert.match(await card.getByRole('link').getAttribute('href'), /plan=pro/);
  await shot(ann, '4-refused');

  // The owner finds the user and sets a larger plan.
  const owner = await browser.visitor();
  await signUp(owner, app, 'owner@example.com', 'Olive');
  await owner.goto(`${app.url}/admin`);
  await owner.getByRole('button', { name: 'Refresh' }).click();
  await owner.getByRole('link', { name: 'ann@example.com', exact: true }).waitFor();
  await shot(owner, '5-admin');
  await owner.getByRole('link', { name: 'ann@example.com', exact: true }).click();
  await owner.getByLabel('Plan', { exact: true }).selectOption('pro');
  await owner.locator('#plan-why').fill('asked nicely');
  await owner.getByRole('button', { name: 'Set plan' }).click();
  await owner.waitForURL('**/admin/users/**');
  await shot(owner, '6-user');

  // The plan applies to the next request, and usage is kept.
  await send(ann, 'One more, please {{words:5}}');
  await ann.getByText('word5').last().waitFor();
  await ann.locator('.answer.live .byline').nth(1).waitFor();
  assert.equal(await card.count(), 0);
  assert.ok(await left(ann, 'Tokens') > 400_000 && await left(ann, 'Tokens') < 500_000);

  // The pages show the numbers of the database.
  const [[tokens, cost]] = app.query(`select to_char(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 'FM999,999'),
    sum(cost_usd) from ai_usage join account using (user_id) where email = 'ann@example.com'`);
  await ann.goto(`${app.url}/usage`);
  assert.equal(await ann.locator('.figure strong').first().innerText(), tokens);
  await shot(ann, '7-usage');
  await owner.goto(`${app.url}/admin`);
  await owner.getByRole('button', { name: 'Refresh' }).click();
  const row = owner.getByRole('row', { name: /ann@example.com/ });
  await row.getByText(tokens).waitFor();
  assert.match(await row.innerText(), new RegExp(tokens));
  const shown = Number((await row.locator('td').nth(3).innerText()).replace('$', ''));
  assert.ok(Math.abs(shown - Number(cost)) <= Number(cost) * 0.05, `${shown} must be ${cost} to two digits`);
  limit(10);
  assert.deepEqual(browser.complaints, []);
});

test('stop keeps the partial response, and a reload resumes a running one', { timeout: 600_000 }, async () => {
  const tom = await browser.visitor({ colorScheme: 'dark' });
  await signUp(tom, app, 'tom@example.com');
  await woken(tom);
  await send(tom, '{{words:600}}{{pace:100}} a long one');
  await tom.getByText('word20 ').waitFor();
  await tom.reload();
  await tom.getByText('word30 ').waitFor();
  await tom.getByRole('button', { name: 'Stop' }).click();
  await tom.locator('.note', { hasText: 'Stopped' }).waitFor();
  await shot(tom, '8-stopped-dark');
  // The model may think unseen, so the server reads on for a while, and books at least what was shown: 30 words of two tokens.
  const booked = "select status, output_tokens >= 60 from ai_usage join account using (user_id) where email = 'tom@example.com'";
  while (app.query(booked)[0][0] === 'pending') await new Promise((wait) => setTimeout(wait, 100));
  assert.deepEqual(app.query(booked), [['stopped', 't']]);
  // An interrupted response keeps its partial text and offers a retry.
  await send(tom, '{{words:9}}{{break:4}} oh no');
  await tom.getByRole('button', { name: 'Try again' }).waitFor();
  assert.ok(await tom.getByText('word4').last().isVisible());
  assert.deepEqual(browser.complaints, []);
});

test('forms and pages work without JavaScript', { timeout: 600_000 }, async () => {
  const zoe = await browser.visitor({ javaScriptEnabled: false });
  await zoe.goto(`${app.url}/sign-up`);
  await zoe.getByLabel('Email').fill('zoe@example.com');
  await zoe.getByLabel('Password').fill('short');
  await zoe.getByRole('button', { name: 'Create account' }).click();
  await zoe.getByText('Use at least 12 characters.').waitFor();
  assert.equal(await zoe.getByLabel('Email').inputValue(), 'zoe@example.com');
  await zoe.getByLabel('Password').fill(password);
  await zoe.getByRole('button', { name: 'Create account' }).click();
  await zoe.locator('.noscript').waitFor();
  for (const path of ['/', '/pricing', '/usage']) {
    await zoe.goto(app.url + path);
    assert.ok(await zoe.locator('h1').isVisible(), path);
  }
  await zoe.getByRole('button', { name: 'Sign out' }).click();
  await zoe.getByRole('link', { name: 'Sign in' }).waitFor();
  await zoe.goto(`${app.url}/usage`);
  assert.match(zoe.url(), /sign-in\?next=\/usage/);
  await zoe.getByLabel('Email').fill('zoe@example.com');
  await zoe.getByLabel('Password').fill(password);
  await zoe.getByRole('button', { name: 'Sign in' }).click();
  await zoe.waitForURL('**/usage');
});

test('the server exits cleanly on SIGTERM', { timeout: 600_000 }, async () => {
  assert.equal(await app.stop(), 0);
});
