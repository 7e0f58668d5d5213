// Sign-in with Google and GitHub, as a third party implements them (emulate): new accounts, existing ones, and the settings.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { createEmulator } from 'emulate';
import { freePort, inspect, mailTo, password, shots, signUp, startApp, startBrowser, unreached } from './test-app.mjs';

let app, browser;
const services = [];

// Starts a service of emulate with our client and these users, and returns its URL.
async function emulate(service, clients, seed, publicUrl) {
  const port = await freePort();
  const baseUrl = `http://127.0.0.1:${port}`;
  const client = {
    client_id: `${service}-client`, client_secret: 'secret & more', name: 'End to end',
    redirect_uris: [`${publicUrl}/sign-in/callback/${service}`],
  };
  services.push(await createEmulator({ service, port, baseUrl, seed: { [service]: { ...seed, [clients]: [client] } } }));
  return baseUrl;
}

before(async () => {
  const port = await freePort();
  const publicUrl = `http://127.0.0.1:${port}`;
  const google = await emulate('google', 'oauth_clients', {
    users: [{ email: 'ann@example.com', name: 'Ann Lee' }, { email: 'bob@example.com', name: 'Bob' }],
  }, publicUrl);
  const github = await emulate('github', 'oauth_apps', {
    users: [{ login: 'annlee', name: 'Ann Lee', email: 'ann.lee@example.org' }],
  }, publicUrl);
  app = await startApp({
    stripe: false,
    port,
    env: {
      GOOGLE_ISSUER: google, GOOGLE_CLIENT_ID: 'google-client', GOOGLE_CLIENT_SECRET: 'secret & more',
      GITHUB_BASE_URL: github, GITHUB_CLIENT_ID: 'github-client', GITHUB_CLIENT_SECRET: 'secret & more',
    },
  });
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await app?.stop();
  await Promise.all(services.map((service) => service.close()));
});

const shot = (page, name) => page.screenshot({ path: join(shots, `identity-${name}.png`), fullPage: true });
const accounts = () => app.query('select count(*) from account')[0][0];
// The services' pages aren't ours.
const complaints = () => browser.complaints.filter((line) => line.startsWith(app.url));
// axe adds styles of its own, which the page's policy blocks.
async function axe(page) {
  assert.deepEqual(complaints(), []);
  await inspect(page);
  browser.complaints.length = 0;
}

test('a Google account signs up, connects GitHub, and leaves Google', { timeout: 600_000 }, async () => {
  const ann = await browser.visitor();
  await ann.goto(`${app.url}/sign-up?next=${encodeURIComponent('/usage?days=7')}`);
  await shot(ann, '1-sign-up');
  await ann.getByRole('button', { name: 'Continue with Google' }).click();
  await ann.getByRole('button', { name: /ann@example\.com/ }).click();
  await ann.waitForURL('**/usage?days=7');
  const sql = `select email, name, email_verified_at is not null, password_hash is null from account`;
  assert.deepEqual(app.query(sql), [['ann@example.com', 'Ann Lee', 't', 't']]);

  await ann.goto(`${app.url}/settings/security`);
  await ann.getByText('Your account has no password.').waitFor();
  await ann.getByRole('button', { name: 'Connect GitHub' }).click();
  await ann.getByRole('button', { name: /annlee/ }).click();
  await ann.getByText('The account was connected.').waitFor();
  await shot(ann, '2-connected');
  await axe(ann);
  await mailTo(app, 'ann@example.com', 'GitHub was connected to your account');

  await ann.getByRole('button', { name: 'Disconnect Google' }).click();
  await ann.getByText('The account was disconnected.').waitFor();
  await ann.getByRole('button', { name: 'Disconnect GitHub' }).click();
  await ann.getByText('GitHub is the only way to sign in to your account. Set a password or add a passkey first.').waitFor();
  await ann.getByLabel('New password').fill(password);
  await ann.getByRole('button', { name: 'Set password' }).click();
  await ann.getByText('Your password was changed.').waitFor();
  await ann.getByRole('button', { name: 'Disconnect GitHub' }).click();
  await ann.getByText('The account was disconnected.').waitFor();
  await ann.getByLabel('Current password').waitFor();
  assert.equal(accounts(), '1');
  assert.deepEqual(complaints(), []);
});

test('an existing account is connected by signing in to it', { timeout: 600_000 }, async () => {
  await signUp(await browser.visitor(), app, 'bob@example.com', 'Bob');
  const bob = await browser.visitor();
  await bob.goto(`${app.url}/sign-in`);
  assert.deepEqual(await unreached(bob), []);
  await bob.reload();
  await bob.getByRole('button', { name: 'Continue with Google' }).focus();
  await bob.keyboard.press('Enter');
  await bob.getByRole('button', { name: /bob@example\.com/ }).click();
  await bob.getByText('An account with this email exists. Sign in to it within 10 minutes to connect Google.').waitFor();
  await shot(bob, '3-exists');
  await axe(bob);
  assert.deepEqual(app.query('select count(*) from identity'), [['0']]);
  await bob.getByLabel('Email').fill('bob@example.com');
  await bob.getByLabel('Password').fill(password);
  await bob.getByRole('button', { name: 'Sign in', exact: true }).click();
  await bob.waitForURL('**/chat');
  await bob.goto(`${app.url}/settings/security`);
  await bob.getByRole('button', { name: 'Disconnect Google' }).waitFor();

  // From now on Google is enough to sign in. It doesn't say when it asked for a password, so it doesn't confirm who they are.
  const phone = await browser.visitor({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  await phone.goto(`${app.url}/sign-in`);
  await shot(phone, '4-phone');
  await phone.getByRole('button', { name: 'Continue with Google' }).click();
  await phone.getByRole('button', { name: /bob@example\.com/ }).click();
  await phone.waitForURL('**/chat');
  app.query(`update session set authenticated_at = now() - interval '11 minutes'`);
  await phone.goto(`${app.url}/settings/security`);
  await phone.getByRole('button', { name: 'Connect GitHub' }).click();
  await phone.getByRole('heading', { name: 'Confirm it\'s you' }).waitFor();
  await shot(phone, '5-confirm');
  assert.equal(await phone.getByRole('button', { name: 'Continue with Google' }).count(), 0);
  await phone.getByLabel('Password').fill(password);
  await phone.getByRole('button', { name: 'Continue', exact: true }).click();
  await phone.waitForURL('**/settings/security');
  assert.deepEqual(complaints(), []);
});
