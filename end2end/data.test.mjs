// The export of a user's data as a browser downloads it, and the captcha of the sign-up page.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import { password, send, shots, signUp, startApp, startBrowser, startFake, woken } from './test-app.mjs';

let app, guarded, captcha, browser;
before(async () => {
  app = await startApp({ stripe: false });
  captcha = await startFake('captcha', '127.0.0.1:0');
  guarded = await startApp({
    stripe: false,
    env: {
      CAPTCHA_PROVIDER: 'turnstile', CAPTCHA_SITE_KEY: 'the-site-key', CAPTCHA_SECRET_KEY: 'captcha-secret',
      CAPTCHA_VERIFY_URL: captcha.url,
    },
  });
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await app?.stop();
  await guarded?.stop();
  captcha?.child.kill();
});

const shot = (page, name) => page.screenshot({ path: join(shots, `data-${name}.png`), fullPage: true });

// Returns the files of a ZIP by name: those that its central directory lists, which are all compressed with deflate.
function unzip(bytes) {
  const end = bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  const files = {};
  let at = bytes.readUInt32LE(end + 16);
  for (let left = bytes.readUInt16LE(end + 10); left > 0; left -= 1) {
    const [size, start] = [bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)];
    const lengths = [28, 30, 32].map((offset) => bytes.readUInt16LE(at + offset));
    const name = bytes.toString('utf8', at + 46, at + 46 + lengths[0]);
    const data = start + 30 + bytes.readUInt16LE(start + 26) + bytes.readUInt16LE(start + 28);
    files[name] = inflateRawSync(bytes.subarray(data, data + size)).toString('utf8');
    at += lengths.reduce((sum, length) => sum + length, 46);
  }
  return files;
}

test('the export is a ZIP that holds the conversation', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await signUp(ann, app, 'ann@example.com', 'Ann');
  await woken(ann);
  await send(ann, '{{words:5}} A question about clouds');
  await ann.locator('.answer.live .byline').waitFor();
  const [served] = await app.served();

  await ann.goto(`${app.url}/settings/data`);
  await shot(ann, '1-export');
  assert.deepEqual(browser.complaints, []);
  const [download] = await Promise.all([
    ann.waitForEvent('download'),
    ann.getByRole('button', { name: 'Download ZIP' }).click(),
  ]);
  assert.match(download.suggestedFilename(), /^data-\d{4}-\d{2}-\d{2}\.zip$/);
  const files = unzip(readFileSync(await download.path()));
  assert.equal(JSON.parse(files['account.json']).email, 'ann@example.com');
  const names = Object.keys(files);
  for (const name of names.filter((name) => name.endsWith('.json') || name === 'usage.csv')) {
    assert.ok(name.startsWith('conversations/') || files['README.txt'].includes(name), name);
  }
  const markdown = files[names.find((name) => /^conversations\/001-.*\.md$/.test(name))];
  assert.ok(markdown.includes('A question about clouds') && markdown.includes(served.text.trim()), markdown);
  const { messages } = JSON.parse(files[names.find((name) => /^conversations\/001-.*\.json$/.test(name))]);
  assert.deepEqual(messages.map(({ text }) => text.trim()), ['{{words:5}} A question about clouds', served.text.trim()]);
  // The page is still there and works.
  await ann.getByRole('button', { name: 'Download ZIP' }).waitFor();
});

// Stands in for the provider's script, which is not loaded from the internet: a checkbox that fills the field of the response, as the
// real widget does.
const WIDGET = `for (const place of document.querySelectorAll('.cf-turnstile')) {
  const [label, box, response] = ['label', 'input', 'input'].map((name) => document.createElement(name));
  box.type = 'checkbox';
  response.type = 'hidden';
  response.name = 'cf-turnstile-response';
  box.addEventListener('change', () => { response.value = box.checked ? 'solved ' + place.dataset.sitekey + Math.random() : ''; });
  label.append(box, ' I am human');
  place.append(label, response);
}`;

test('a sign-up passes with the captcha, and is refused without, keeping what was typed', { timeout: 600_000 }, async () => {
  browser.complaints.length = 0;
  const bob = await browser.visitor();
  await bob.route('https://challenges.cloudflare.com/**', (route) => route.fulfill({ contentType: 'text/javascript', body: WIDGET }));
  const accounts = () => guarded.query('select count(*) from account')[0][0];
  await bob.goto(`${guarded.url}/sign-up?next=${encodeURIComponent('/usage?days=7')}`);
  await bob.getByLabel('I am human').waitFor();
  await bob.getByLabel('Name').fill('Bob Lee');
  await bob.getByLabel('Email').fill('bob@example.com');
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Create account' }).click();
  await bob.getByText('Confirm that you are human, then submit the form again.').waitFor();
  await shot(bob, '2-captcha');
  assert.equal(await bob.getByLabel('Name').inputValue(), 'Bob Lee');
  assert.equal(await bob.getByLabel('Email').inputValue(), 'bob@example.com');
  assert.equal(await bob.getByLabel('Password').inputValue(), '', 'a password is never in a page');
  assert.equal(accounts(), '0');

  await bob.getByLabel('I am human').check();
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Create account' }).click();
  await bob.waitForURL('**/usage?days=7');
  assert.equal(accounts(), '1');
  assert.deepEqual(browser.complaints, [], 'the policy of the page allows the script of the provider');
});
