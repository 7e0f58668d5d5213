// Edited messages, regenerated answers, and the versions of both: on a desktop, by keyboard, on a phone, and without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { inspect, password, send, shots, signUp, startApp, startBrowser, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  app.query("update plan set requests_per_minute = 1000, tokens_per_day = 1000000 where plan_id = 'free'");
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await app?.stop();
});

async function start(email, options = {}) {
  const page = await browser.visitor(options);
  await signUp(page, app, email);
  await woken(page);
  return page;
}

const questions = (page) => page.locator('.user-message:visible');
const answers = (page) => page.locator('.answer:visible');
// Waits until the page shows this many answers and none is in progress.
const idle = (page, count) => page.waitForFunction((expected) => {
  const shown = [...document.querySelectorAll('.answer')].filter((answer) => answer.checkVisibility());
  return shown.length === expected && !document.querySelector('#chat[data-busy]');
}, count);
// The sizes of the buttons below the first answer, and the gaps between them.
const actionRow = (page) => answers(page).first().locator('.actions button').evaluateAll((all) => {
  const boxes = all.map((button) => button.getBoundingClientRect());
  const gaps = boxes.slice(1).map((box, index) => Math.round(box.left - boxes[index].right));
  return { count: all.length, sizes: [...new Set(boxes.map(({ width, height }) => `${Math.round(width)} x ${Math.round(height)}`))], gaps: [...new Set(gaps)] };
});
const sentLast = async () => (await app.served()).at(-1).sent.map((message) => message.text.trim());

test('a message is edited in its place, and both versions stay', { timeout: 600_000 }, async () => {
  const ann = await start('ann@example.com', { quiet: true });
  await send(ann, '{{words:3}} first');
  await idle(ann, 1);
  await send(ann, '{{words:4}} second');
  await idle(ann, 2);
  assert.deepEqual(await actionRow(ann), { count: 5, sizes: ['32 x 32'], gaps: [0] });
  // The live message can be edited before a reload. Escape leaves it as it is. The button stands beside the message and takes no row.
  await questions(ann).first().hover();
  const [message, edit] = await Promise.all(['.message', '[data-edit]'].map((part) => questions(ann).first().locator(part).boundingBox()));
  assert.ok(edit.x + edit.width <= message.x && edit.y + edit.height <= message.y + message.height + 1, JSON.stringify({ message, edit }));
  await questions(ann).first().getByRole('button', { name: 'Edit message' }).click();
  const box = ann.getByRole('textbox', { name: 'Edit message' });
  assert.equal(await box.inputValue(), '{{words:3}} first');
  await inspect(ann);
  await ann.screenshot({ path: join(shots, 'branches-1-edit.png') });
  await box.press('Escape');
  await box.waitFor({ state: 'detached' });
  assert.equal(await ann.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Edit message');
  // By keyboard: Enter opens it again, and Enter sends.
  await ann.keyboard.press('Enter');
  await box.fill('{{words:5}} changed');
  await box.press('Enter');
  await idle(ann, 1);
  assert.deepEqual(await sentLast(), ['{{words:5}} changed'], 'the model is sent what the page shows');
  assert.equal(await questions(ann).count(), 1);
  const versions = questions(ann).first().getByRole('group', { name: 'Versions' });
  assert.match(await versions.innerText(), /2\/2/);
  assert.ok(await versions.getByRole('button', { name: 'Next version' }).isDisabled());
  // A reload changes nothing, and the way back leads to the end of the old branch.
  await ann.reload();
  await woken(ann);
  assert.match(await versions.innerText(), /2\/2/);
  await versions.getByRole('button', { name: 'Previous version' }).click();
  await idle(ann, 2);
  assert.match(await versions.innerText(), /1\/2/);
  assert.equal(await ann.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Next version', 'the focus stays');
  await inspect(ann);
  await ann.screenshot({ path: join(shots, 'branches-2-versions.png') });
  // The first of two answers is regenerated; what followed it is in the other branch.
  await answers(ann).first().getByRole('button', { name: 'Regenerate', exact: true }).click();
  await idle(ann, 1);
  assert.deepEqual(await sentLast(), ['{{words:3}} first']);
  const responses = answers(ann).first().getByRole('group', { name: 'Versions' });
  assert.match(await responses.innerText(), /2\/2/);
  await responses.getByRole('button', { name: 'Previous version' }).click();
  await idle(ann, 2);
  // The next message continues what is shown.
  await send(ann, '{{words:2}} third');
  await idle(ann, 3);
  assert.equal((await sentLast()).length, 5);
  assert.equal(app.query('select count(*) from ai_usage')[0][0], '5', 'one call per message');
});

test('each page continues the version that it shows', { timeout: 600_000 }, async () => {
  const kim = await start('kim@example.com', { quiet: true });
  await send(kim, '{{words:3}} first');
  await idle(kim, 1);
  const address = kim.url();
  // Another device, which shows changes from elsewhere only when its window gets the focus.
  const other = await browser.visitor({ quiet: true, storageState: await kim.context().storageState() });
  await other.goto(address);
  await woken(other);
  await questions(kim).first().hover();
  await questions(kim).first().getByRole('button', { name: 'Edit message' }).click();
  await kim.getByRole('textbox', { name: 'Edit message' }).fill('{{words:5}} changed');
  await kim.getByRole('textbox', { name: 'Edit message' }).press('Enter');
  await idle(kim, 1);
  await send(other, '{{words:2}} second');
  await idle(other, 2);
  assert.deepEqual(await sentLast(), ['{{words:3}} first', 'word1 word2 word3', '{{words:2}} second']);
  // Without a reload the next message follows the response that has just ended.
  await send(other, '{{words:1}} third');
  await idle(other, 3);
  assert.equal((await sentLast()).length, 5);
  // A link to the other version shows it and switches nothing, until a message is sent.
  const id = address.split('/').at(-1);
  const leaf = () => app.query(`select leaf_id from conversation where conversation_id = '${id}'`);
  const before = leaf();
  const [[changed]] = app.query(`select message_id from message where conversation_id = '${id}' and body like '%changed'`);
  await kim.goto(`${address}?message=${changed}`);
  await woken(kim);
  await kim.locator('#other-version').waitFor();
  await inspect(kim);
  await kim.evaluate(() => window.dispatchEvent(new Event('focus')));
  assert.deepEqual(leaf(), before);
  await send(kim, '{{words:2}} fourth');
  await idle(kim, 2);
  assert.deepEqual(await sentLast(), ['{{words:5}} changed', 'word1 word2 word3 word4 word5', '{{words:2}} fourth']);
  assert.ok(await kim.locator('#other-version').isHidden());
  assert.equal(kim.url(), address);
});

test('a refused edit and an ended session lose nothing', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com', { quiet: true });
  await send(bob, '{{words:3}} first');
  await idle(bob, 1);
  await questions(bob).first().hover();
  await questions(bob).first().getByRole('button', { name: 'Edit message' }).click();
  const box = bob.getByRole('textbox', { name: 'Edit message' });
  await box.fill('{{status:400}} refused');
  await bob.getByRole('button', { name: 'Send', exact: true }).first().click();
  await bob.locator('.refusal').waitFor();
  assert.equal(await box.inputValue(), '{{status:400}} refused', 'the text is in its place');
  assert.equal(await answers(bob).count(), 1, 'the old response is shown again');
  await bob.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await questions(bob).locator('.message').innerText(), '{{words:3}} first');
  // Nor does a session that has ended: after signing in, the user is back at the draft.
  const address = bob.url();
  app.query("delete from session where user_id = (select user_id from account where email = 'bob@example.com')");
  await send(bob, 'Not sent yet');
  await bob.locator('.refusal').getByRole('link', { name: 'Sign in' }).click();
  await bob.getByLabel('Email').fill('bob@example.com');
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Sign in', exact: true }).click();
  await bob.waitForURL(address);
  await woken(bob);
  assert.equal(await bob.locator('#question').inputValue(), 'Not sent yet');
  // If another user signs in next, they don't see the draft of a new conversation. It stays its author's.
  const drafts = async () => { await woken(bob); return bob.locator('#question').inputValue(); };
  await bob.goto(`${app.url}/chat`);
  await woken(bob);
  await bob.locator('#question').fill('Of bob alone');
  app.query("delete from session where user_id = (select user_id from account where email = 'bob@example.com')");
  await signUp(bob, app, 'next@example.com');
  assert.equal(await drafts(), '');
  await bob.context().clearCookies();
  await bob.goto(`${app.url}/sign-in?next=%2Fchat`);
  await bob.getByLabel('Email').fill('bob@example.com');
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Sign in', exact: true }).click();
  await bob.waitForURL('**/chat');
  assert.equal(await drafts(), 'Of bob alone');
});

test('phones: edit and versions by touch', { timeout: 600_000 }, async () => {
  const phone = await start('fay@example.com', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, quiet: true });
  await send(phone, '{{words:3}} first');
  // On-screen keyboards have no Shift+Enter, so Enter has begun a new line.
  await phone.locator('#send').tap();
  await idle(phone, 1);
  assert.deepEqual(await actionRow(phone), { count: 5, sizes: ['44 x 44'], gaps: [0] });
  const edit = questions(phone).first().getByRole('button', { name: 'Edit message' });
  const size = await edit.boundingBox();
  assert.ok(size.width >= 40 && size.height >= 40, JSON.stringify(size));
  await edit.tap();
  const box = phone.getByRole('textbox', { name: 'Edit message' });
  const font = await box.evaluate((element) => parseFloat(getComputedStyle(element).fontSize));
  assert.ok(font >= 16, `${font} px would zoom`);
  await box.fill('{{words:6}} longer '.repeat(8));
  const over = await phone.evaluate(() => document.documentElement.scrollWidth - 390);
  assert.ok(over <= 0, `${over} px too wide`);
  await phone.screenshot({ path: join(shots, 'branches-3-phone.png') });
  await phone.locator('form.edit').getByRole('button', { name: 'Send' }).tap();
  await idle(phone, 1);
  await questions(phone).first().getByRole('button', { name: 'Previous version' }).tap();
  await questions(phone).first().getByText('{{words:3}} first', { exact: true }).waitFor();
});

test('without JavaScript the versions are forms', { timeout: 600_000 }, async () => {
  const gus = await start('gus@example.com');
  await send(gus, '{{words:3}} first');
  await idle(gus, 1);
  await answers(gus).first().getByRole('button', { name: 'Regenerate', exact: true }).click();
  await answers(gus).first().getByRole('group', { name: 'Versions' }).waitFor();
  await idle(gus, 1);
  const address = gus.url();
  const plain = await browser.visitor({ javaScriptEnabled: false, storageState: await gus.context().storageState() });
  await plain.goto(address);
  const versions = plain.locator('.answer').getByRole('group', { name: 'Versions' });
  assert.match(await versions.innerText(), /2\/2/);
  await versions.getByRole('button', { name: 'Previous version' }).click();
  await plain.waitForURL(/#m-/);
  assert.match(await versions.innerText(), /1\/2/);
  assert.equal(await plain.getByRole('button', { name: 'Edit message' }).count(), 0, 'editing needs JavaScript');
});
