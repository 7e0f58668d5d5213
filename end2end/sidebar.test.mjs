// The sidebar: rename in place, pin, archive, delete with undo, endless scroll, and the switch that hides it. On a phone, and without JavaScript.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { inspect, scroll, send, shots, signUp, startApp, startBrowser, stopClock, woken } from './test-app.mjs';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false, env: { TITLES: 'model' } });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const entry = (page, title) => page.locator('#conversations .entry').filter({ hasText: title });
// Opens a row's options and chooses one.
async function choose(page, title, option) {
  await entry(page, title).hover();
  await entry(page, title).locator('[data-options]').click();
  await page.locator('#row-menu').getByRole('button', { name: option, exact: true }).click();
}
const add = (email, number) => app.query(`insert into conversation (conversation_id, user_id, title, updated_at)
  select gen_random_uuid(), user_id, 'Subject ' || n || '.', now() - n * interval '2 hours' from account, generate_series(1, ${number}) n where email = '${email}'`);

async function start(email, options = {}) {
  const page = await browser.visitor({ quiet: true, ...options });
  await signUp(page, app, email);
  await woken(page);
  return page;
}

test('a conversation is renamed in place, pinned, archived and deleted', { timeout: 600_000 }, async () => {
  const ann = await start('ann@example.com');
  add('ann@example.com', 5);
  await ann.reload();
  await woken(ann);
  // Rename: Escape keeps the title, Enter saves it.
  await choose(ann, 'Subject 2.', 'Rename');
  await ann.locator('.entry-rename input').fill('Nothing');
  await ann.keyboard.press('Escape');
  await entry(ann, 'Subject 2.').waitFor();
  await choose(ann, 'Subject 2.', 'Rename');
  await ann.locator('.entry-rename input').fill('My <b>lease</b>');
  // The list shows the title before the server has it.
  await Promise.all([ann.waitForResponse('**/rename'), ann.keyboard.press('Enter')]);
  await entry(ann, 'My <b>lease</b>').waitFor();
  await ann.reload();
  await woken(ann);
  await entry(ann, 'My <b>lease</b>').waitFor();
  // A title that can't be saved stays in its field.
  await ann.route('**/rename', (route) => route.abort());
  await choose(ann, 'Subject 3.', 'Rename');
  await ann.locator('.entry-rename input').fill('Typed with care');
  await ann.keyboard.press('Enter');
  await ann.locator('#toast').getByText("The server can't be reached right now.").waitFor();
  assert.equal(await ann.locator('.entry-rename input').inputValue(), 'Typed with care');
  await ann.unroute('**/rename');
  await Promise.all([ann.waitForResponse('**/rename'), ann.keyboard.press('Enter')]);
  await entry(ann, 'Typed with care').waitFor();
  // Pin: it comes first, under a heading of its own.
  await choose(ann, 'Subject 4.', 'Pin');
  await ann.locator('#conversations section').filter({ hasText: 'Pinned' }).getByText('Subject 4.').waitFor();
  await choose(ann, 'Subject 4.', 'Unpin');
  await ann.locator('#conversations section').filter({ hasText: 'Pinned' }).waitFor({ state: 'detached' });
  await inspect(ann);
  // By keyboard: the options are reached with Tab and opened with Enter.
  await entry(ann, 'Subject 5.').locator('.entry-link').focus();
  await ann.keyboard.press('Tab');
  await ann.keyboard.press('Enter');
  await ann.locator('#row-menu').waitFor();
  await ann.keyboard.press('Escape');
  await ann.locator('#row-menu').waitFor({ state: 'hidden' });
  // The open conversation: its deletion leads to a new one, with a way back.
  await entry(ann, 'Subject 1.').locator('.entry-link').click();
  await woken(ann);
  await choose(ann, 'Subject 1.', 'Delete');
  await ann.locator('#deleted').getByRole('button', { name: 'Undo' }).click();
  await ann.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  await woken(ann);
  assert.equal(await ann.locator('#title').innerText(), 'Subject 1.');
  // The archive, with a conversation in it.
  await choose(ann, 'Subject 5.', 'Archive');
  await entry(ann, 'Subject 5.').waitFor({ state: 'detached' });
  await ann.goto(`${app.url}/chat/archived`);
  await ann.getByRole('button', { name: 'Delete' }).waitFor();
  await inspect(ann);
});

test('deleting and archiving can be undone', { timeout: 600_000 }, async () => {
  const fay = await start('fay@example.com');
  add('fay@example.com', 5);
  await fay.reload();
  await woken(fay);
  // The way back ends after ten seconds, by the page's clock.
  await stopClock(fay);
  for (const [option, sentence] of [['Delete', 'Conversation deleted.'], ['Archive', 'Conversation archived.']]) {
    await choose(fay, 'Subject 3.', option);
    await entry(fay, 'Subject 3.').waitFor({ state: 'detached' });
    await fay.locator('#toast').getByText(sentence).waitFor();
    const undo = fay.locator('#toast').getByRole('button', { name: 'Undo' });
    // While it has the focus, it stays.
    await undo.focus();
    await fay.clock.fastForward(11_000);
    assert.ok(await undo.isVisible());
    await undo.press('Enter');
    await entry(fay, 'Subject 3.').waitFor();
    assert.equal(await fay.evaluate(() => document.activeElement.id), 'question', 'the focus is not lost');
  }
});

test('the list goes on while it is scrolled, and the sidebar can be hidden', { timeout: 600_000 }, async () => {
  const bob = await start('bob@example.com', { viewport: { width: 1280, height: 700 } });
  add('bob@example.com', 130);
  await bob.reload();
  await woken(bob);
  assert.equal(await bob.locator('#conversations .entry').count(), 50);
  const nav = bob.locator('#conversations-nav');
  const shows = (number) => bob.waitForFunction((wanted) => document.querySelectorAll('#conversations .entry').length === wanted, number);
  // What can't be loaded is requested again only by its link.
  let tries = 0;
  await bob.route(/\/chat\/list\?/, (route) => { tries += 1; return route.abort(); });
  await nav.evaluate((element) => { element.scrollTop = element.scrollHeight; });
  await bob.getByRole('alert').filter({ hasText: 'Loading failed.' }).waitFor();
  await scroll(nav, [-100, -50, -1]);
  assert.equal(tries, 1);
  await bob.unroute(/\/chat\/list\?/);
  await bob.getByRole('link', { name: 'More conversations' }).click();
  await shows(100);
  await nav.evaluate((element) => { element.scrollTop = element.scrollHeight; });
  await shows(130);
  assert.equal(await bob.locator('#more-conversations').count(), 0);
  assert.equal(await bob.locator('#conversations h2').filter({ hasText: 'Previous 7 days' }).count(), 1, 'headings are not repeated');
  // The response sets the cookie that keeps it.
  await Promise.all([bob.waitForResponse('**/chat/sidebar'), bob.getByRole('button', { name: 'Hide sidebar' }).click()]);
  await bob.locator('#sidebar').waitFor({ state: 'hidden' });
  await bob.reload();
  await woken(bob);
  assert.ok(await bob.locator('#sidebar').isHidden(), 'kept by a cookie');
  await bob.getByRole('button', { name: 'Show sidebar' }).click();
  await bob.locator('#sidebar').waitFor();
});

test('a model writes the title of a new conversation, and the page shows it', { timeout: 600_000 }, async () => {
  const cleo = await start('cleo@example.com');
  await send(cleo, '{{words:3}} When does my lease end?');
  await cleo.locator('.answer .byline').waitFor();
  await cleo.waitForFunction(() => document.querySelector('#title').textContent === 'word1 word2 word3');
  assert.match(await cleo.title(), /^word1 word2 word3 · /);
  await entry(cleo, 'word1 word2 word3').waitFor();
});

test('on a phone the options are visible and nothing overflows', { timeout: 600_000 }, async () => {
  const dan = await start('dan@example.com', { viewport: { width: 390, height: 844 }, hasTouch: true });
  add('dan@example.com', 3);
  await dan.reload();
  await woken(dan);
  await dan.getByRole('button', { name: 'Conversations' }).click();
  await dan.locator('#sidebar').waitFor();
  await inspect(dan);
  for (const colorScheme of ['light', 'dark']) {
    await dan.emulateMedia({ colorScheme });
    await dan.screenshot({ path: join(shots, `sidebar-phone-${colorScheme}.png`) });
  }
  await entry(dan, 'Subject 2.').locator('[data-options]').click();
  await dan.locator('#row-menu').getByRole('button', { name: 'Rename', exact: true }).click();
  await dan.locator('.entry-rename input').fill('By touch');
  await dan.keyboard.press('Enter');
  await entry(dan, 'By touch').waitFor();
  // The sidebar is above the rest of the page. It closes for the way back after a deletion.
  await dan.setViewportSize({ width: 390, height: 844 });
  await entry(dan, 'Subject 3.').locator('[data-options]').click();
  await dan.locator('#row-menu').getByRole('button', { name: 'Delete', exact: true }).click();
  const notice = dan.locator('#toast').getByText('Conversation deleted.');
  await notice.waitFor();
  await dan.locator('#sidebar').waitFor({ state: 'hidden' });
  assert.ok(await notice.evaluate((text) => {
    const { x, y, width, height } = text.getBoundingClientRect();
    return text.contains(document.elementFromPoint(x + width / 2, y + height / 2));
  }), 'nothing covers the toast');
});

test('without JavaScript, options are a page and the list has links', { timeout: 600_000 }, async () => {
  const eve = await start('eve@example.com');
  add('eve@example.com', 60);
  const plain = await browser.visitor({ quiet: true, javaScriptEnabled: false });
  await plain.context().addCookies(await eve.context().cookies());
  await plain.goto(`${app.url}/chat`);
  await plain.getByRole('link', { name: 'More conversations' }).click();
  await plain.waitForURL(/\/chat\?after=/);
  assert.equal(await plain.locator('#conversations .entry').count(), 10);
  await plain.getByRole('link', { name: 'Newest conversations' }).click();
  await plain.locator('#conversations .entry').filter({ hasText: 'Subject 7.' }).locator('[data-options]').click();
  await plain.locator('#title').fill('x'.repeat(81));
  await plain.getByRole('button', { name: 'Save title' }).click();
  await plain.getByText('Use at most 80 characters.').waitFor();
  assert.equal((await plain.locator('#title').inputValue()).length, 81, 'nothing is lost');
  await plain.locator('#title').fill('Named by a form');
  await plain.getByRole('button', { name: 'Save title' }).click();
  await plain.locator('#conversations .entry').filter({ hasText: 'Named by a form' }).locator('[data-options]').click();
  await plain.getByRole('button', { name: 'Archive', exact: true }).click();
  await plain.goto(`${app.url}/chat/archived`);
  await plain.getByRole('button', { name: 'Delete' }).click();
  await plain.getByRole('button', { name: 'Undo' }).click();
  await plain.waitForURL(/\/chat\/[0-9a-f-]{36}$/);
  await plain.getByRole('button', { name: 'Hide sidebar' }).click();
  await plain.getByRole('button', { name: 'Show sidebar' }).click();
  await plain.locator('#sidebar').waitFor();
});
