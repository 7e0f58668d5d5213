// Files in the message box: by the button, by dropping and by pasting; progress, tokens, removal, models that read no images, and a phone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { appeared, inspect, recordTexts, send, signUp, startApp, startBrowser, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

// A PNG of one color, as its specification has it.
function png(width, height) {
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    let crc = ~0;
    for (const byte of body) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(~crc >>> 0, 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const rows = Buffer.concat(Array.from({ length: height }, () => Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3, 90)])));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

const text = (name, content) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(content) });
const chip = (page, name) => page.locator('#files .file').filter({ hasText: name });
const ready = (page, name) => chip(page, name).getByText(/≈ [\d.]+k? tokens/).waitFor();
const pick = (page, ...files) => page.locator('#file-picker').setInputFiles(files);
const ended = (page) => page.locator('.answer').last().locator('.byline').waitFor();

async function start(email, options = {}) {
  app.query("update plan set requests_per_minute = 1000, tokens_per_day = 10000000");
  const page = await browser.visitor({ quiet: true, ...options });
  await signUp(page, app, email);
  await woken(page);
  return page;
}

// Gives files to the page as a drop or a paste does.
const give = (page, kind, file) => page.locator('#question').evaluate((box, { kind, file }) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(file.bytes)], file.name, { type: file.type }));
  const event = kind === 'drop'
    ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
  box.dispatchEvent(event);
}, { kind, file: { ...file, bytes: [...file.bytes] } });

for (const viewport of [undefined, { width: 390, height: 844 }]) {
  const device = viewport ? 'a phone' : 'a desktop';
  test(`files are attached, sent and shown on ${device}`, { timeout: 600_000 }, async () => {
    const ann = await start(viewport ? 'phone@example.com' : 'desktop@example.com', viewport ? { viewport } : {});
    await pick(ann, { name: 'photo.png', mimeType: 'image/png', buffer: png(320, 200) });
    await ready(ann, 'photo.png');
    await give(ann, 'drop', { name: 'notes.md', type: 'text/markdown', bytes: Buffer.from('# Notes\nThe rent is 900.') });
    await ready(ann, 'notes.md');
    await give(ann, 'paste', { name: 'pasted.csv', type: 'text/csv', bytes: Buffer.from('a,b\n1,2\n') });
    await ready(ann, 'pasted.csv');
    await ann.locator('#question').fill('{{words:3}} What is this?');
    await ann.locator('#estimate').waitFor();
    await inspect(ann);
    await chip(ann, 'pasted.csv').getByRole('button', { name: 'Remove pasted.csv' }).click();
    assert.equal(await ann.locator('#files .file').count(), 2);
    await ann.locator('#question').press('Enter');
    await ended(ann);
    assert.equal(await ann.locator('#files').isHidden(), true);
    const call = (await app.served()).at(-1);
    assert.deepEqual(call.sent.at(-1).images, ['image/png']);
    assert.match(call.sent.at(-1).text, /The rent is 900\./);
    for (const when of ['live', 'after a reload']) {
      const shown = ann.locator('.user-message').last();
      assert.equal(await shown.locator('a.sent-file').count(), 2, when);
      await shown.locator('img').evaluate((image) => image.complete || new Promise((done) => { image.onload = done; }));
      assert.ok(await shown.locator('img').evaluate((image) => image.naturalWidth > 0), when);
      await inspect(ann);
      await ann.reload();
      await woken(ann);
    }
    // The model of a conversation that was opened again reads images as well.
    await pick(ann, { name: 'second.png', mimeType: 'image/png', buffer: png(64, 64) });
    await ready(ann, 'second.png');
    await chip(ann, 'second.png').getByRole('button', { name: 'Remove second.png' }).click();
    // An edited message keeps its files.
    await ann.locator('.user-message [data-edit]').last().click();
    await ann.locator('form.edit textarea').fill('{{words:2}} And what is this?');
    await ann.locator('form.edit [data-slot="send"]').click();
    await ann.locator('.user-message').last().getByText('And what is this?').waitFor();
    await ended(ann);
    assert.equal(await ann.locator('.user-message').last().locator('a.sent-file').count(), 2);
    assert.ok((await app.served()).some(({ sent }) => sent.at(-1).text.includes('And what is this?') && sent.at(-1).images.length === 1));
  });
}

test('what isn’t accepted says why, and nothing is sent until it is removed', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com');
  await pick(bob, text('drawing.svg', '<svg xmlns="http://www.w3.org/2000/svg"/>'));
  // Announced to screen readers with the name.
  const alert = chip(bob, 'drawing.svg').getByRole('alert');
  await alert.getByText('SVG images can contain scripts').waitFor();
  await alert.getByText('drawing.svg').waitFor();
  await send(bob, '{{words:2}} hi');
  await bob.getByText('Remove the files that couldn’t be attached.'.replace('’', "'")).waitFor();
  assert.equal(await bob.locator('#question').inputValue(), '{{words:2}} hi');
  await chip(bob, 'drawing.svg').getByRole('button').click();
  await pick(bob, ...Array.from({ length: 11 }, (_, n) => text(`${n}.txt`, `file ${n}`)));
  await bob.getByText('A message can have at most 10 files.').waitFor();
  assert.equal(await bob.locator('#files .file').count(), 10);
  for (let n = 0; n < 10; n += 1) await ready(bob, `${n}.txt`);
  await bob.locator('#question').press('Enter');
  await ended(bob);
  // A message that the provider refuses keeps its files.
  await pick(bob, text('kept.txt', 'kept'));
  await ready(bob, 'kept.txt');
  await send(bob, '{{status:400}}');
  await bob.locator('.refusal').waitFor();
  await ready(bob, 'kept.txt');
  await bob.locator('#question').fill('{{words:2}} again');
  await bob.locator('#question').press('Enter');
  await ended(bob);
  assert.match((await app.served()).at(-1).sent.at(-1).text, /kept\.txt/);
  // Files wait for a response in progress. The note about that disappears with its end.
  await send(bob, '{{words:4}}{{hold:2}} long');
  await bob.locator('.answer').last().getByText('word2').waitFor();
  await pick(bob, text('next.txt', 'next'));
  await ready(bob, 'next.txt');
  await send(bob, 'And this?');
  const note = bob.getByText('Files can be sent once the response is complete.');
  await note.waitFor();
  await app.release();
  await ended(bob);
  await note.waitFor({ state: 'hidden' });
});

test('a long pasted text becomes a file, and a text again by its button', { timeout: 600_000 }, async () => {
  const lea = await start('lea@example.com');
  // Returns whether the page handles the paste itself.
  const paste = (content) => lea.locator('#question').evaluate((box, content) => {
    const data = new DataTransfer();
    data.setData('text/plain', content);
    return !box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
  }, content);
  const long = (line) => `${line}\n`.repeat(300).slice(0, 4_000);
  assert.equal(await paste(long('Too short by one letter').slice(1)), false, 'a short text is pasted as usual');
  await recordTexts(lea, '#toast');
  assert.equal(await paste(long('The rent is 900.')), true);
  await appeared(lea, 'The pasted text is attached as a file.');
  await ready(lea, 'Pasted text.txt');
  assert.equal(await lea.locator('#question').inputValue(), '');
  await inspect(lea);
  // The second one is put where the cursor is.
  await lea.locator('#question').fill('Before. After.');
  await lea.locator('#question').evaluate((box) => box.setSelectionRange(8, 8));
  assert.equal(await paste(long('The deposit is 1800.')), true);
  await lea.locator('#files .file').nth(1).getByText(/≈ [\d.]+k? tokens/).waitFor();
  await lea.getByRole('button', { name: 'Paste as text' }).last().focus();
  await lea.keyboard.press('Enter');
  assert.equal(await lea.locator('#question').inputValue(), `Before. ${long('The deposit is 1800.')}After.`);
  assert.equal(await lea.locator('#question').evaluate((box) => box.selectionEnd), 4_008);
  assert.equal(await lea.locator('#files .file').count(), 1);
  await send(lea, '{{words:3}} What is the rent?');
  await ended(lea);
  const { text: sent } = (await app.served()).at(-1).sent.at(-1);
  assert.ok(sent.includes('The rent is 900.') && !sent.includes('The deposit'), sent.slice(0, 200));
  await lea.locator('.user-message').last().getByText('Pasted text.txt').waitFor();
});

test('a model that reads no images says so before sending', { timeout: 600_000 }, async () => {
  const cleo = await start('cleo@example.com');
  const models = await cleo.locator('#model option:not([data-locked])').evaluateAll((options) => options.map((option) => option.value));
  app.query(`update model set takes_images = model <> '${models[1]}'`);
  await cleo.locator('#model').selectOption(models[0]);
  await pick(cleo, { name: 'photo.png', mimeType: 'image/png', buffer: png(64, 64) });
  await ready(cleo, 'photo.png');
  await cleo.locator('#model').selectOption(models[1]);
  await cleo.getByText("doesn't read images").waitFor();
  const before = (await app.served()).length;
  await send(cleo, '{{words:2}} see');
  assert.equal((await app.served()).length, before);
  await cleo.locator('#model').selectOption(models[0]);
  await cleo.getByText("doesn't read images").waitFor({ state: 'hidden' });
  await cleo.locator('#question').press('Enter');
  await ended(cleo);
  app.query('update model set takes_images = true');
});

test('an upload shows its progress and can be canceled', { timeout: 600_000 }, async () => {
  const dan = await start('dan@example.com');
  const errors = [];
  dan.on('pageerror', (error) => errors.push(error.message));
  // The request is held back until it is canceled.
  await dan.route('**/api/attachments?*', () => {});
  await pick(dan, text('slow.txt', 'slow'));
  await chip(dan, 'slow.txt').locator('progress').waitFor();
  await send(dan, '{{words:2}} hi');
  await dan.getByText('Wait until all files are uploaded.').waitFor();
  const canceled = dan.waitForEvent('requestfailed', (request) => request.url().includes('/api/attachments'));
  await chip(dan, 'slow.txt').getByRole('button').click();
  await canceled;
  await dan.locator('#files').waitFor({ state: 'hidden' });
  await dan.locator('#question').press('Enter');
  await ended(dan);
  assert.deepEqual(errors, []);
  await dan.goto(`${app.url}/settings/data`);
  await dan.getByText(/of 100 MB used/).waitFor();
  await inspect(dan);
});
