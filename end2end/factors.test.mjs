// Second factors in a browser: passkeys with Chromium's virtual authenticator, codes of an authenticator app, and their pages for axe.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { generate } from 'otplib';
import { inspect, mailTo, password, shots, signUp, startBrowser, startApp, unreached } from './test-app.mjs';

let app, browser;
before(async () => {
  // Browsers make no passkeys for an address without a name.
  app = await startApp({ stripe: false, host: 'localhost' });
  browser = await startBrowser();
});
after(async () => { await browser?.stop(); await app?.stop(); });

const shot = (page, name) => page.screenshot({ path: join(shots, `factors-${name}.png`), fullPage: true });

// Gives a page a device that holds passkeys and verifies its user.
async function addDevice(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const options = {
    protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: true,
  };
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options });
  return { devtools, authenticatorId };
}

const button = (page, name) => page.getByRole('button', { name, exact: true });

async function addPasskey(page, name) {
  await page.goto(`${app.url}/settings/security`);
  await page.locator('#passkey-name').fill(name);
  await button(page, 'Add a passkey').click();
  await page.getByText('The passkey was added.').waitFor();
}

const signOut = (page) => page.context().clearCookies();
const expireProofs = () => app.query(`update session set authenticated_at = now() - interval '11 minutes'`);

async function enterPassword(page, email) {
  await page.goto(`${app.url}/sign-in?next=%2Fusage`);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await button(page, 'Sign in').click();
}

// Sets up an authenticator app. Returns its key and the recovery codes.
async function setUp(page) {
  await page.goto(`${app.url}/settings/security`);
  await page.getByRole('link', { name: 'Set up an authenticator app' }).click();
  const secret = (await page.locator('code.key').textContent()).replaceAll(' ', '');
  await page.getByRole('textbox', { name: 'Code' }).fill(await generate({ secret }));
  await button(page, 'Turn on').click();
  await page.getByText('Keep them safe').waitFor();
  return { secret, codes: await page.locator('.codes code').allTextContents() };
}

// The code of the next step, because the current one was used.
const nextCode = (secret) => generate({ secret, epoch: Math.floor(Date.now() / 1000) + 30 });

test('add a passkey, sign in with it, confirm, rename, and live without a password', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await addDevice(ann);
  await signUp(ann, app, 'ann@example.com', 'Ann');
  await addPasskey(ann, 'Laptop');
  await mailTo(app, 'ann@example.com', 'A sign-in method was added');
  await ann.getByText('Laptop', { exact: true }).waitFor();
  await shot(ann, '1-passkey');

  await signOut(ann);
  await ann.goto(`${app.url}/sign-in?next=%2Fusage`);
  await shot(ann, '2-sign-in');
  await button(ann, 'Sign in with a passkey').click();
  await ann.waitForURL('**/usage');

  expireProofs();
  await ann.goto(`${app.url}/settings/security`);
  await ann.getByLabel('Password to remove').fill(password);
  await button(ann, 'Remove password').click();
  await ann.waitForURL(/\/sign-in\/confirm\?next=/);
  await shot(ann, '3-confirm');
  await button(ann, 'Use a passkey').click();
  await ann.waitForURL('**/settings/security');
  await ann.locator('summary', { hasText: 'Rename' }).click();
  await ann.locator('.entries details input').fill('Work laptop');
  await button(ann, 'Save').click();
  await ann.getByText('The passkey was renamed.').waitFor();
  await ann.getByLabel('Password to remove').fill(password);
  await button(ann, 'Remove password').click();
  await ann.getByText('Your password was removed.').waitFor();
  await button(ann, 'Remove the passkey Work laptop').click();
  await ann.getByText('This passkey is your only way to sign in.').waitFor();
  // The device has one for this account already.
  await button(ann, 'Add a passkey').click();
  await ann.getByText('This device already has a passkey for your account.').waitFor();
  assert.deepEqual(browser.complaints, []);
});

test('a passkey is removed and a user who is not verified is refused', { timeout: 600_000 }, async () => {
  const bob = await browser.visitor();
  const { devtools, authenticatorId } = await addDevice(bob);
  await signUp(bob, app, 'bob@example.com');
  await addPasskey(bob, '');
  await signOut(bob);
  await bob.goto(`${app.url}/sign-in`);
  await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  await button(bob, 'Sign in with a passkey').click();
  await bob.getByText('No passkey was used.').waitFor();
  await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true });
  await button(bob, 'Sign in with a passkey').click();
  await bob.waitForURL('**/chat');
  await bob.goto(`${app.url}/settings/security`);
  await button(bob, 'Remove the passkey Passkey').click();
  await bob.getByText('The passkey was removed.').waitFor();
  await mailTo(app, 'bob@example.com', 'A sign-in method was removed');
  await signOut(bob);
  await bob.goto(`${app.url}/sign-in`);
  await button(bob, 'Sign in with a passkey').click();
  await bob.getByText('This passkey isn\'t registered here.').waitFor();
  assert.deepEqual(browser.complaints, []);
});

test('an authenticator app asks for a code, and recovery codes replace it', { timeout: 600_000 }, async () => {
  const cleo = await browser.visitor();
  await signUp(cleo, app, 'cleo@example.com');
  const { secret, codes } = await setUp(cleo);
  assert.equal(codes.length, 10);
  await shot(cleo, '4-recovery-codes');
  await cleo.getByRole('link', { name: 'I\'ve saved them' }).click();
  await cleo.getByText('10 codes are left.').waitFor();

  const phone = await browser.visitor();
  await enterPassword(phone, 'cleo@example.com');
  await phone.waitForURL(/\/sign-in\/second\?next=/);
  await phone.getByRole('textbox', { name: 'Code' }).fill('AAAA-AAAA');
  await button(phone, 'Continue').click();
  await phone.getByText('This code is wrong or was used before.').waitFor();
  await shot(phone, '5-code');
  await phone.getByRole('textbox', { name: 'Code' }).fill(await nextCode(secret));
  await phone.getByRole('textbox', { name: 'Code' }).press('Enter');
  await phone.waitForURL('**/usage');

  // Without JavaScript, and without the app.
  const plain = await browser.visitor({ javaScriptEnabled: false });
  await plain.goto(`${app.url}/sign-in`);
  assert.equal(await plain.getByText('Sign in with a passkey').isVisible(), false);
  await enterPassword(plain, 'cleo@example.com');
  await plain.getByRole('textbox', { name: 'Code' }).fill(codes[0]);
  await button(plain, 'Continue').click();
  await plain.waitForURL('**/usage');
  await plain.goto(`${app.url}/settings/security`);
  await plain.getByText('9 codes are left.').waitFor();
  await button(plain, 'Remove authenticator app').click();
  await plain.getByText('The authenticator app and the recovery codes were removed.').waitFor();
  assert.deepEqual(browser.complaints, []);
});

// Field note 40.
test('axe finds no violations and everything is reached by keyboard', { timeout: 600_000 }, async () => {
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  await addDevice(page);
  await page.goto(`${app.url}/sign-in`);
  await inspect(page);
  assert.deepEqual(await unreached(page), []);
  await signUp(page, app, 'dot@example.com');
  await addPasskey(page, 'A laptop with quite a long name, so that it wraps on a phone');
  await page.goto(`${app.url}/settings/security/totp`);
  await inspect(page);
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await shot(page, `6-totp-${colorScheme}`);
  }
  assert.deepEqual(await unreached(page), []);
  await page.getByRole('textbox', { name: 'Code' }).fill('123');
  await button(page, 'Turn on').click();
  await page.getByText('Enter the 6 digits that your app shows.').waitFor();
  await inspect(page);
  await setUp(page);
  await inspect(page);
  for (const path of ['/settings/security', '/settings/security?required=mfa', '/settings/security/recovery', '/sign-in/confirm']) {
    await page.goto(app.url + path);
    await inspect(page);
    assert.deepEqual(await unreached(page), [], path);
  }
  await signOut(page);
  await enterPassword(page, 'dot@example.com');
  await page.waitForURL(/\/sign-in\/second\?next=/);
  await inspect(page);
  assert.deepEqual(await unreached(page), []);
});
