// A response is owned by the server: a reload, another tab or another server resumes it without losing or repeating a character, and it can
// be regenerated.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { send, shots, signUp, startBalancer, startBrowser, startApp, woken } from './test-app.mjs';

let app, browser, balancer;
before(async () => {
  app = await startApp({ stripe: false });
  balancer = await startBalancer(app.url, await app.startSecond());
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  balancer?.stop();
  await app?.stop();
});

const answer = async (page) => (await page.locator('.answer .markdown').last().innerText()).trim();

test('a reload during a response reaches another server and the text is complete', { timeout: 600_000 }, async () => {
  // Connections are broken on purpose, which Chromium reports in the console.
  const ann = await browser.visitor({ quiet: true });
  await signUp(ann, { url: balancer.url }, 'ann@example.com', 'Ann');
  await woken(ann);
  await send(ann, '{{words:60}}{{pace:25}}{{hold:30}} Tell me something.');
  await ann.getByText('word10 ').waitFor();
  balancer.use(1);
  await ann.reload();
  // Another tab of the same user, also on the other server.
  const tab = await ann.context().newPage();
  await tab.goto(ann.url());
  await ann.getByText('word20 ').waitFor();
  assert.ok(!(await answer(ann)).includes('word60'), 'the response is still running');
  await app.release();
  await ann.locator('.answer.live .byline').waitFor();
  await tab.locator('.answer .byline').last().waitFor();
  const [served] = await app.served();
  assert.equal(await answer(ann), served.text.trim());
  assert.equal(await answer(tab), served.text.trim());
  assert.deepEqual(app.query("select status, usage_source, output_tokens from ai_usage"), [['finished', 'exact', '120']]);
  await tab.close();

  // The connection breaks without a reload: the page resumes the response where it was.
  await send(ann, '{{words:61}}{{pace:25}} And now?');
  await ann.locator('.answer').nth(1).getByText('word15 ').waitFor(); // Of this response, not of the previous one.
  balancer.use(0);
  await ann.locator('.answer.live .byline').nth(1).waitFor();
  assert.equal(await answer(ann), (await app.served())[1].text.trim());
  assert.equal(app.query('select count(*) from ai_usage')[0][0], '2', 'one provider call per message');

  // Stop reaches the server that runs the turn through any server.
  await send(ann, '{{words:600}}{{pace:200}} Once more?');
  await ann.locator('.answer').nth(2).getByText('word5 ').waitFor();
  balancer.use(1);
  await ann.getByRole('button', { name: 'Stop' }).click();
  await ann.locator('.note', { hasText: 'Stopped' }).waitFor();
});

test('the last response can be regenerated, also after a reload', { timeout: 600_000 }, async () => {
  const bob = await browser.visitor();
  await signUp(bob, { url: balancer.url }, 'bob@example.com', 'Bob');
  await woken(bob);
  await send(bob, '{{words:3}} First question.');
  await bob.locator('.answer.live .byline').waitFor();
  await bob.screenshot({ path: join(shots, 'again-1-button.png') });
  const turn = await bob.locator('.answer').getAttribute('data-turn');
  await bob.getByRole('button', { name: 'Regenerate', exact: true }).click();
  await bob.waitForFunction((before) => {
    const [only, ...others] = document.querySelectorAll('.answer');
    return others.length === 0 && only.dataset.turn !== before && only.matches('.live[aria-busy=false]');
  }, turn);
  assert.equal(await bob.locator('.user-message').count(), 1, 'the message is shown once');
  assert.equal(app.query("select count(*) from message where conversation_id = (select conversation_id from conversation where title like '%First%')")[0][0], '3', 'a question and two responses');
  await bob.reload();
  await woken(bob);
  await bob.getByRole('button', { name: 'Regenerate', exact: true }).click();
  await bob.locator('.answer.live .byline').waitFor();
  assert.equal(await bob.locator('.answer').count(), 1, 'the old response is replaced');
  assert.equal(await bob.locator('.user-message').count(), 1);
  await bob.screenshot({ path: join(shots, 'again-2-done.png') });
  // An interrupted response can be retried in the same way.
  await send(bob, '{{words:5}}{{break:2}} Second question.');
  await bob.locator('.broke').waitFor();
  await bob.screenshot({ path: join(shots, 'again-3-broke.png') });
  await bob.getByRole('button', { name: 'Try again' }).click();
  await bob.waitForFunction(() => document.querySelectorAll('.user-message').length === 2 && document.querySelectorAll('.answer').length === 2);
  assert.deepEqual(browser.complaints, []);
});

test('the page shows that a fallback model answered', { timeout: 600_000 }, async () => {
  app.query("insert into provider (provider, label, wire_format, base_url) values ('unreachable', 'Unreachable', 'openai', 'http://127.0.0.1:9/v1')");
  app.query("update model set provider = 'unreachable', fallback = 'claude-haiku-5-5' where model = 'gpt-6-luna'");
  const eve = await browser.visitor();
  await signUp(eve, { url: balancer.url }, 'eve@example.com', 'Eve');
  await woken(eve);
  await eve.locator('#model').selectOption('gpt-6-luna');
  await send(eve, '{{words:4}} Hello');
  await eve.getByText("GPT-6 Luna is unavailable right now. Claude Haiku 5.5 answered instead.").waitFor();
  await eve.locator('.answer.live .byline').waitFor();
  assert.match(await eve.locator('.answer.live .byline').innerText(), /Claude Haiku 5\.5/);
  await eve.screenshot({ path: join(shots, 'again-4-fallback.png') });
});
