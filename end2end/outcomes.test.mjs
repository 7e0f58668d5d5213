// How a response ends: each way has its own sentence, the same live and after a reload.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { recordTexts, send, shots, signUp, startApp, startBrowser, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const ENDINGS = [
  ['{{refuse}}{{words:2}}', 'claude-haiku-5-5', "The model declined to answer. Rephrase your message; this exchange isn't sent along with the next one."],
  ['{{filter}}{{words:2}}', 'gpt-6-luna', "The provider's content filter withheld this response. Rephrase your message; this exchange isn't sent along with the next one."],
  ['{{toolcall}}{{words:2}}', 'gpt-6-luna', "The model tried to use a tool that isn't available here. Try again, or rephrase your message."],
  ['{{words:4}}{{break:2}}', 'claude-haiku-5-5', 'Response interrupted'],
];

// Field notes 51 and 60.
test('endings and reasoning look the same live and after a reload', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await signUp(ann, app, 'ann@example.com', 'Ann');
  for (const [text, model, sentence] of ENDINGS) {
    await ann.goto(`${app.url}/chat`);
    await woken(ann);
    await ann.locator('#model').selectOption(model);
    await send(ann, text);
    const note = ann.locator('.answer').last().getByText(sentence, { exact: true });
    await note.waitFor();
    assert.match(await ann.locator('.answer .markdown').last().innerText(), /word2/, 'what arrived is kept');
    await ann.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
    await ann.reload();
    await note.waitFor();
  }
  await ann.screenshot({ path: join(shots, 'outcomes-1-interrupted.png') });
  // Reasoning is folded, live and after a reload.
  await ann.goto(`${app.url}/chat`);
  await woken(ann);
  await send(ann, '{{reasoning:3}}{{words:2}} why?');
  const reasoning = ann.locator('.answer details.reasoning').last();
  await ann.locator('.answer.live .byline').waitFor();
  for (const when of ['live', 'after a reload']) {
    assert.equal(await reasoning.getByText('thought0').isVisible(), false, when);
    await reasoning.locator('summary').click();
    await reasoning.getByText('thought0 thought1 thought2').waitFor();
    if (when === 'live') {
      await ann.reload();
      await woken(ann);
    }
  }
  await ann.screenshot({ path: join(shots, 'outcomes-2-reasoning.png') });
  assert.deepEqual(browser.complaints, []);
});

test('a stopped response shows the count of its provider once that is known', { timeout: 600_000 }, async () => {
  const bob = await browser.visitor();
  await signUp(bob, app, 'bob@example.com', 'Bob');
  await bob.goto(`${app.url}/chat`);
  await woken(bob);
  await bob.locator('#model').selectOption('claude-haiku-5-5');
  await recordTexts(bob, '#transcript');
  await send(bob, '{{think:30}}{{words:4}}{{hold}}');
  await bob.locator('.answer.live .markdown', { hasText: 'word1' }).waitFor();
  await bob.getByRole('button', { name: 'Stop' }).click();
  await bob.locator('.answer.live .note', { hasText: 'Stopped' }).waitFor();
  // The model has reasoned, which isn't streamed but counted.
  await app.release();
  const isFinal = () => app.query('select ended_at from turn where turn_id = '
    + "(select turn_id from message where role = 'assistant' and status = 'stopped') and ended_at is not null").length === 1;
  while (!isFinal()) await new Promise((wait) => setTimeout(wait, 50));
  const [[tokens]] = app.query('select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) from ai_usage '
    + "where turn_id = (select turn_id from message where role = 'assistant' and status = 'stopped')");
  await bob.locator('.answer.live .used', { hasText: `${Number(tokens).toLocaleString('en-US')} tokens` }).waitFor();
  const counts = await bob.evaluate(() => window.texts.filter((text) => /^[\d.,]+k? tokens/.test(text)));
  assert.equal(new Set(counts).size, 2, `an estimate, then the count: ${counts}`);
  assert.deepEqual(browser.complaints, []);
});
