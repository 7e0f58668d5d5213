// Takes screenshots of every page in each theme and width, with the demo company, and combines them in end2end/shots/sheet.png. With
// --readme it also updates the README's pictures.
import { readFileSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, send, shots, signUp, startBrowser, startApp, woken } from './test-app.mjs';

const app = await startApp();
app.run('seed');
const browser = await startBrowser();
const sheet = [];

async function shot(page, name, full = false) {
  const path = join(shots, `${name}.png`);
  await page.screenshot({ path, fullPage: full });
  sheet.push([name, path]);
}

for (const colorScheme of ['light', 'dark']) {
  for (const [width, height] of [[1280, 800], [390, 844]]) {
    const at = `${colorScheme}-${width}`;
    const page = await browser.visitor({ quiet: true, colorScheme, viewport: { width, height }, reducedMotion: 'reduce' });
    for (const path of ['home', 'pricing', 'forgot', 'sign-in']) {
      await page.goto(`${app.url}/${path === 'home' ? '' : path}`);
      await shot(page, `${path}-${at}`);
    }
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.goto(`${app.url}/sign-up`);
    await page.getByLabel('Email').evaluate((input) => { input.form.noValidate = true; });
    await page.getByRole('button', { name: 'Create account' }).click();
    await page.getByText('Enter a valid email address.').waitFor();
    await shot(page, `sign-up-errors-${at}`);
    await signUp(page, app, `visitor-${at}@example.com`, 'Ann');
    await woken(page).catch(() => {});
    await shot(page, `chat-empty-${at}`);
    await app.pace(12);
    await send(page, 'How does a lease end, and what do I have to do?');
    await page.getByText('if you like code').waitFor();
    await shot(page, `chat-streaming-${at}`);
    await page.locator('.answer.live .byline').waitFor();
    await app.pace(0);
    for (let n = 1; n < 10; n += 1) {
      await send(page, `And if the letter is dated ${n} May?`);
      await page.locator('.answer.live .byline').nth(n).waitFor();
    }
    await send(page, 'And what if it never arrives?');
    await page.locator('.refusal').waitFor();
    await shot(page, `chat-refused-${at}`);
    const owner = await browser.visitor({ quiet: true, colorScheme, viewport: { width, height }, reducedMotion: 'reduce' });
    await owner.goto(`${app.url}/sign-in`);
    await owner.getByLabel('Email').fill('admin@example.com');
    await owner.getByLabel('Password').fill('demo company');
    await owner.getByRole('button', { name: 'Sign in' }).click();
    await owner.waitForURL('**/chat');
    await owner.goto(`${app.url}/admin?period=30d`);
    await shot(owner, `admin-${at}`);
    await shot(owner, `admin-full-${at}`, true);
    await owner.locator('tbody a').first().click();
    await owner.getByRole('button', { name: 'Set plan' }).waitFor();
    await shot(owner, `user-${at}`);
    await shot(owner, `user-full-${at}`, true);
    for (const path of ['settings', 'settings/chat', 'settings/security', 'settings/billing', 'settings/data', 'admin/users', 'admin/models', 'admin/providers', 'admin/plans', 'admin/health', 'admin/audit', 'usage']) {
      await owner.goto(`${app.url}/${path}`);
      if (path === 'admin/models') await owner.getByRole('button', { name: 'New price of' }).first().click();
      await shot(owner, `${path.replace('/', '-')}-${at}`, path === 'admin/models');
    }
    await owner.goto(`${app.url}/nothing`);
    await shot(owner, `missing-${at}`);
    const demo = await browser.visitor({ quiet: true, colorScheme, viewport: { width, height }, reducedMotion: 'reduce' });
    await demo.goto(`${app.url}/sign-in`);
    await demo.getByLabel('Email').fill('demo@example.com');
    await demo.getByLabel('Password').fill('demo company');
    await demo.getByRole('button', { name: 'Sign in' }).click();
    await demo.waitForURL('**/chat');
    for (const title of ['How does a lease end', 'Why does this query scan']) {
      const found = `select conversation_id from conversation join account using (user_id) where email = 'demo@example.com' and title like '${title}%'`;
      const [[id]] = app.query(found);
      await demo.goto(`${app.url}/chat/${id}`);
      await woken(demo);
      await shot(demo, `${title.toLowerCase().replaceAll(' ', '-')}-${at}`);
    }
    for (const path of ['usage', 'settings/billing']) {
      await demo.goto(`${app.url}/${path}`);
      await shot(demo, `demo-${path.replace('/', '-')}-${at}`);
    }
    await page.close();
    await owner.close();
    await demo.close();
  }
}

const pictures = process.argv.includes('--readme')
  ? [['home', 'home'], ['chat', 'chat-streaming'], ['refused', 'chat-refused'], ['admin', 'admin']] : [];
for (const [name, from] of pictures) {
  copyFileSync(join(shots, `${from}-light-1280.png`), join(root, 'docs', `${name}.png`));
}

const page = await browser.visitor({ quiet: true, viewport: { width: 1900, height: 1000 } });
const figures = sheet.map(([name, path]) =>
  `<figure><img src="data:image/png;base64,${readFileSync(path).toString('base64')}"><figcaption>${name}</figcaption></figure>`);
await page.setContent(`<style>body{display:flex;flex-wrap:wrap;gap:12px;font:12px sans-serif}figure{margin:0}img{height:320px;border:1px solid #999}</style>${figures.join('')}`);
await page.screenshot({ path: join(shots, 'sheet.png'), fullPage: true });
await browser.stop();
await app.stop();
console.log(`${sheet.length} pictures on end2end/shots/sheet.png`);
