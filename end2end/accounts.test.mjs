// Accounts in a browser: confirming an address, a forgotten password, the settings, and their pages on a phone and for axe.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import {
  inspect, mailTo, password, send, shots, signUp, signUpUnverified, startBrowser, startApp, unreached, woken,
} from './test-app.mjs';

const OTHER = 'battery staple horse';
const CONFIRM = 'Confirm your email address';
const BUTTON = 'Confirm email address';

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const shot = (page, name) => page.screenshot({ path: join(shots, `accounts-${name}.png`), fullPage: true });

async function signIn(page, email, secret) {
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(secret);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

// Field notes 38 and 64.
test('sign up, confirm the address by the mail in /dev/mail, chat', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await signUpUnverified(ann, app, 'ann@example.com', 'Ann');
  await woken(ann);
  await ann.getByText(`${CONFIRM} to send messages.`).waitFor();
  await send(ann, '{{words:5}} Hello');
  await ann.locator('.refusal').getByText(`${CONFIRM} to use this model.`).waitFor();
  assert.equal(await ann.locator('#question').inputValue(), '{{words:5}} Hello', 'the draft is kept');
  assert.equal(await ann.locator('.refusal').getByRole('link', { name: BUTTON }).getAttribute('href'), '/verify');
  assert.deepEqual(await app.served(), [], 'no provider was called');
  await shot(ann, '1-unconfirmed');

  // The mail, read in the same browser.
  const mail = await ann.context().newPage();
  await mail.goto(`${app.url}/dev/mail`);
  await mail.locator('article', { hasText: 'ann@example.com' }).getByRole('link').click();
  await mail.waitForURL('**/verify?token=*');
  await shot(mail, '2-verify');
  await mail.getByRole('button', { name: BUTTON }).click();
  await mail.getByText('Your email address is confirmed.').waitFor();
  await mail.getByRole('link', { name: 'Open the chat' }).click();
  await woken(mail);
  assert.equal(await mail.getByText(`${CONFIRM} to send messages.`).count(), 0);
  await mail.close();

  // The page that stayed open sends its draft now.
  await ann.locator('#question').press('Enter');
  await ann.locator('.answer.live .byline').waitFor();
  assert.equal((await app.served()).length, 1);
  assert.deepEqual(browser.complaints, []);
});

test('a code confirms the address as well, and a new one can be requested', { timeout: 600_000 }, async () => {
  const bob = await browser.visitor();
  await signUpUnverified(bob, app, 'bob@example.com');
  await bob.getByRole('link', { name: 'Enter the code' }).click();
  await bob.getByLabel('Code').fill('12 34');
  await bob.getByRole('button', { name: 'Confirm', exact: true }).click();
  await bob.getByText('Enter the 6 digits of the code in the email.').waitFor();
  await shot(bob, '3-code');
  await bob.getByRole('button', { name: 'Send a new code' }).click();
  await bob.getByText('A new link and code are on their way.').waitFor();
  const { text } = await mailTo(app, 'bob@example.com', CONFIRM);
  const [code] = text.match(/^\d{6}$/m);
  await bob.getByLabel('Code').fill(`${code.slice(0, 3)} ${code.slice(3)}`);
  await bob.getByLabel('Code').press('Enter');
  await bob.getByText('Your email address is confirmed.').waitFor();
  assert.deepEqual(browser.complaints, []);
});

test('a forgotten password is reset, which signs in and ends the other session', { timeout: 600_000 }, async () => {
  // The stream breaks off on purpose, which pages may report in the console.
  const laptop = await browser.visitor({ quiet: true });
  await signUp(laptop, app, 'tom@example.com', 'Tom');
  await woken(laptop);
  await send(laptop, '{{words:40}}{{hold}} Tell me something.');
  await laptop.locator('.answer.live').getByText('word10').waitFor();
  const conversation = laptop.url();
  assert.match(conversation, /\/chat\/[0-9a-f-]{36}$/);

  const phone = await browser.visitor({ viewport: { width: 390, height: 844 } });
  await phone.goto(`${app.url}/sign-in`);
  await signIn(phone, 'tom@example.com', 'not my password');
  await phone.getByText('Incorrect email or password.').waitFor();
  await shot(phone, '4-wrong-password');
  await phone.getByRole('link', { name: 'Forgot password?' }).click();
  await phone.getByLabel('Email').fill('tom@example.com');
  await phone.getByRole('button', { name: 'Send link' }).click();
  await phone.getByText('Check your email.').waitFor();
  const { link } = await mailTo(app, 'tom@example.com', 'Set a new password');
  await phone.goto(link);
  await phone.getByLabel('New password').fill('too short');
  await phone.getByRole('button', { name: 'Set password and sign in' }).click();
  await phone.getByText('Use at least 12 characters.').waitFor();
  await phone.getByLabel('New password').fill(OTHER);
  await shot(phone, '5-reset');
  await phone.getByRole('button', { name: 'Set password and sign in' }).click();
  await phone.waitForURL('**/chat');
  // The response runs on, is kept, and is found in the new session.
  await app.release();
  await phone.goto(conversation);
  await phone.getByText('word40').waitFor();

  await laptop.goto(`${app.url}/usage`);
  await laptop.waitForURL('**/sign-in?next=/usage');
  await signIn(laptop, 'tom@example.com', password);
  await laptop.getByText('Incorrect email or password.').waitFor();
  await signIn(laptop, 'tom@example.com', OTHER);
  await laptop.waitForURL('**/usage');
});

test('passwords can be shown and hidden', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  await page.goto(`${app.url}/sign-up`);
  const field = page.getByLabel('Password');
  await field.fill(password);
  assert.equal(await field.getAttribute('type'), 'password');
  // By keyboard, as everything else.
  await field.press('Tab');
  assert.ok(await page.getByRole('button', { name: 'Show password' }).evaluate((button) => button === document.activeElement));
  await page.keyboard.press('Enter');
  assert.equal(await field.getAttribute('type'), 'text');
  await page.getByRole('button', { name: 'Hide password' }).click();
  assert.equal(await field.getAttribute('type'), 'password');
  assert.deepEqual(browser.complaints, []);
});

test('the settings work without JavaScript', { timeout: 600_000 }, async () => {
  const zoe = await browser.visitor({ javaScriptEnabled: false });
  await signUp(zoe, app, 'zoe@example.com');
  await zoe.goto(`${app.url}/settings`);
  assert.equal(await zoe.locator('[data-reveals]:visible').count(), 0, 'a button that needs a script is hidden without one');
  await zoe.getByLabel('Name').fill('Zoe');
  await zoe.getByRole('button', { name: 'Save name' }).click();
  await zoe.getByText('Your name was changed.').waitFor();
  await zoe.getByLabel('Time zone').fill('Asia/Kathmandu');
  await zoe.getByRole('button', { name: 'Save time zone' }).click();
  await zoe.getByText('Your time zone was changed.').waitFor();
  await zoe.getByLabel('New email').fill('zoe@example.org');
  await zoe.getByLabel('Current password').fill('not my password');
  await zoe.getByRole('button', { name: 'Change email' }).click();
  await zoe.getByText('Incorrect password.').waitFor();
  assert.equal(await zoe.getByLabel('New email').inputValue(), 'zoe@example.org');
  await zoe.getByLabel('Current password').fill(password);
  await zoe.getByRole('button', { name: 'Change email' }).click();
  await zoe.getByText('We sent a link to the new address.').waitFor();
  const { link } = await mailTo(app, 'zoe@example.org', 'Confirm your new email address');
  await zoe.goto(link);
  await zoe.getByRole('button', { name: BUTTON }).click();
  await zoe.getByText('Your email address is confirmed.').waitFor();
  const undo = await mailTo(app, 'zoe@example.com', 'Your email address was changed');
  await zoe.goto(undo.link);
  await zoe.getByRole('button', { name: 'Restore email address' }).waitFor();

  await zoe.goto(`${app.url}/settings/security`);
  await zoe.getByLabel('Current password').fill(password);
  await zoe.getByLabel('New password').fill(OTHER);
  await zoe.getByRole('button', { name: 'Change password' }).click();
  await zoe.getByText('Your password was changed. All other sessions were ended.').waitFor();
  await zoe.getByRole('link', { name: 'Data', exact: true }).click();
  await zoe.getByLabel('Confirm with your password').fill(password);
  await zoe.getByRole('button', { name: 'Permanently delete my account' }).click();
  await zoe.getByText('Incorrect password.').waitFor();
  await zoe.getByLabel('Confirm with your password').fill(OTHER);
  await zoe.getByRole('button', { name: 'Permanently delete my account' }).click();
  await zoe.waitForURL(`${app.url}/`);
  assert.equal(app.query("select count(*) from account where email like 'zoe@%'")[0][0], '0');
});

test('sessions are listed, and one of them is ended', { timeout: 600_000 }, async () => {
  const laptop = await browser.visitor();
  await signUp(laptop, app, 'sue@example.com');
  const phone = await browser.visitor({
    userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  });
  await phone.goto(`${app.url}/sign-in?next=/usage`);
  await signIn(phone, 'sue@example.com', password);
  await phone.waitForURL('**/usage');
  // Settings are reached from the chat.
  await laptop.getByRole('button', { name: 'Account' }).click();
  await laptop.getByRole('link', { name: 'Settings' }).click();
  await laptop.getByRole('link', { name: 'Security' }).click();
  await laptop.getByText('This browser').waitFor();
  await shot(laptop, '6-security');
  await laptop.getByRole('button', { name: 'End the session in Safari on iPhone' }).click();
  await laptop.getByText('The session was ended.').waitFor();
  assert.equal(await laptop.getByRole('button', { name: 'End all other sessions' }).count(), 0);
  await phone.reload();
  await phone.waitForURL('**/sign-in?next=/usage');
  assert.deepEqual(browser.complaints, []);
});

// Field note 40.
test('axe finds nothing on the account pages in any state, and they fit a phone and the keyboard', { timeout: 600_000 }, async () => {
  // The policy blocks the styles and requests that axe injects, so errors of this page are ignored.
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  const look = async (path) => {
    await page.goto(app.url + path);
    await inspect(page);
  };
  const submit = async (name) => {
    // The server's own messages instead of the browser's.
    await page.evaluate(() => document.querySelectorAll('form').forEach((form) => { form.noValidate = true; }));
    await page.getByRole('button', { name, exact: true }).click();
    await page.locator('[aria-invalid=true], .form-error').first().waitFor();
    await inspect(page);
  };
  for (const path of ['/sign-in', '/sign-up', '/forgot', '/forgot?sent=yes', '/reset?token=x', '/verify?token=x', '/email/undo?token=x']) {
    await look(path);
    assert.deepEqual(await unreached(page), [], path);
  }
  // Rejected forms.
  for (const [path, button] of [
    ['/sign-in', 'Sign in'], ['/sign-up', 'Create account'], ['/forgot', 'Send link'], ['/reset?token=x', 'Set password and sign in'],
    ['/verify?token=x', BUTTON], ['/email/undo?token=x', 'Restore email address'],
  ]) {
    await page.goto(app.url + path);
    await submit(button);
  }
  await signUpUnverified(page, app, 'lee@example.com', 'Lee');
  await woken(page);
  await inspect(page);
  await send(page, 'Not yet {{words:2}}');
  await page.locator('.refusal').waitFor();
  await inspect(page);
  for (const path of ['/verify', '/verify?sent=yes', '/sign-in/confirm', '/settings', '/settings/security', '/settings/data']) {
    await look(path);
    assert.deepEqual(await unreached(page), [], path);
  }
  for (const [path, button] of [
    ['/verify', 'Confirm'], ['/sign-in/confirm', 'Continue'], ['/settings', 'Change email'], ['/settings/security', 'Change password'],
    ['/settings/data', 'Permanently delete my account'],
  ]) {
    await page.goto(app.url + path);
    await submit(button);
  }
});
