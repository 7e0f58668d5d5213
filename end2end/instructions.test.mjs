// Instructions, presets, settings of conversations, temporary chats and comments, on desktops, phones and without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inspect, send, signUp, startApp, startBrowser, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  app.query("update plan set requests_per_minute = 1000, tokens_per_day = 1000000 where plan_id = 'free'");
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const ended = (page) => page.locator('.answer').last().locator('.byline').waitFor();

test('instructions and presets are kept, and a new conversation starts with what is set', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor({ quiet: true });
  await signUp(ann, app, 'ann@example.com');
  await ann.goto(`${app.url}/settings/chat`);
  await ann.getByLabel('Instructions for all conversations').fill('Call me Ann.');
  await ann.getByRole('button', { name: 'Save instructions' }).click();
  await ann.getByText('Your instructions were saved').waitFor();
  await ann.getByLabel('Name').fill('Letters');
  await ann.locator('#preset').getByLabel('Instructions').fill('Be formal.');
  await ann.locator('#preset').getByLabel('Answer length').selectOption('short');
  await ann.getByRole('button', { name: 'Create preset' }).click();
  await ann.getByText('The preset was saved').waitFor();
  await inspect(ann);
  await ann.goto(`${app.url}/chat`);
  await woken(ann);
  await ann.locator('#settings-button').click();
  await ann.getByRole('button', { name: 'Use preset' }).click();
  await ann.waitForURL('**/chat?preset=*');
  await woken(ann);
  await ann.locator('#settings-button').click();
  assert.equal(await ann.locator('#settings-instructions').inputValue(), 'Be formal.');
  await inspect(ann);
  await ann.locator('#settings-instructions').fill('Be formal and kind.');
  await ann.getByRole('button', { name: 'Done' }).click();
  await send(ann, 'Hello {{words:3}}');
  await ended(ann);
  const [[instructions, length]] = app.query("select instructions, answer_length from conversation where title like 'Hello%'");
  assert.deepEqual([instructions, length], ['Be formal and kind.', 'short']);
  // The form now belongs to the conversation, and the model is remembered with it.
  await ann.locator('#settings-button').click();
  await ann.locator('#settings-model').selectOption('gpt-6-luna');
  assert.equal(await ann.locator('#model').inputValue(), 'gpt-6-luna', 'the picker follows');
  await ann.locator('#settings-length').selectOption('long');
  await ann.locator('#settings-form').getByRole('button', { name: 'Save' }).click();
  await ann.waitForURL('**/chat/*');
  await woken(ann);
  assert.equal(await ann.locator('#model').inputValue(), 'gpt-6-luna');
  assert.equal(await ann.locator('#settings-length').inputValue(), 'long');
});

test('a temporary chat is not listed and ends', { timeout: 600_000 }, async () => {
  const bob = await browser.visitor({ quiet: true, viewport: { width: 390, height: 800 } });
  await signUp(bob, app, 'bob@example.com');
  await woken(bob);
  await bob.getByRole('link', { name: 'Temporary chat' }).click();
  await bob.getByText('Temporary chat: not in your list').waitFor();
  await woken(bob);
  await send(bob, 'Forget this {{words:3}}');
  await ended(bob);
  assert.equal(await bob.locator('#conversations a').count(), 0);
  await bob.reload();
  await bob.getByText('Forget this').waitFor();
  await bob.getByRole('button', { name: 'End chat' }).click();
  await bob.waitForURL(`${app.url}/chat`);
  assert.deepEqual(app.query("select count(*) from conversation c join account using (user_id) where email = 'bob@example.com'"), [['0']]);
});

test('a rating takes a comment, which the owner reads', { timeout: 600_000 }, async () => {
  const cleo = await browser.visitor({ quiet: true });
  await signUp(cleo, app, 'cleo@example.com');
  await woken(cleo);
  await send(cleo, 'Tell me {{words:3}}');
  await ended(cleo);
  await cleo.getByRole('button', { name: 'Bad response' }).click();
  await cleo.getByLabel('Comment on this response').fill('Too <short>');
  await inspect(cleo);
  await cleo.getByRole('button', { name: 'Send comment' }).click();
  await cleo.locator('.comment-form').waitFor({ state: 'detached' });
  const owner = await browser.visitor({ quiet: true });
  await signUp(owner, app, 'owner@example.com');
  await owner.goto(`${app.url}/admin/models`);
  await owner.getByText('Too <short>').waitFor();
  await inspect(owner);
});

test('settings and presets work without JavaScript', { timeout: 600_000 }, async () => {
  const dora = await browser.visitor({ quiet: true, javaScriptEnabled: false });
  await signUp(dora, app, 'dora@example.com');
  await dora.context().request.post(`${app.url}/api/chat`, { data: { text: 'Plain {{words:3}}' } });
  const [[id]] = app.query("select conversation_id from conversation where title like 'Plain%'");
  await dora.goto(`${app.url}/chat/${id}`);
  await dora.locator('#settings-button').click();
  await dora.locator('#settings-instructions').fill('In verse.');
  await dora.locator('#settings-form').getByRole('button', { name: 'Save' }).click();
  await dora.waitForURL(`**/chat/${id}`);
  assert.equal(await dora.locator('#settings-instructions').inputValue(), 'In verse.');
});
