// Checks of a branded copy: what brand.toml says is what visitors see. Run by `./dev test copy` in the copy.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, startApp, startBrowser } from './test-app.mjs';

const text = readFileSync(join(root, 'brand.toml'), 'utf8');
const value = (key) => text.match(new RegExp(`^${key} = "?(.*?)"?$`, 'm'))?.[1] ?? assert.fail(`brand.toml has no ${key}`);

let app, browser;
before(async () => {
  app = await startApp({ stripe: false });
  browser = await startBrowser();
});
after(async () => {
  await browser?.stop();
  await app?.stop();
});

test('pages, icons and the manifest carry the brand, and nothing carries that of the template', { timeout: 600_000 }, async () => {
  const name = value('name');
  const template = ['Quo', 'tient'].join('');
  for (const path of ['/', '/pricing', '/sign-up', '/sign-in', '/forgot', '/nothing']) {
    const page = await (await fetch(app.url + path)).text();
    const title = page.match(/<title>(.*?)<\/title>/)?.[1] ?? '';
    assert.ok(path === '/' ? title.startsWith(`${name}: `) : title.endsWith(` · ${name}`), `${path}: the title ${title} has the name`);
    assert.ok(page.includes(`--hue:${value('hue')}`), `${path}: the hue`);
    assert.ok(!page.includes(template), `${path} names the template`);
  }
  const manifest = await (await fetch(`${app.url}/manifest.webmanifest`)).json();
  assert.equal(manifest.name, name);
  for (const { src } of [...manifest.icons, { src: '/favicon.svg' }, { src: '/favicon.ico' }, { src: '/og/home.png' }]) {
    assert.equal((await fetch(app.url + src)).status, 200, src);
  }
});

test('the accent color has the hue of the brand', { timeout: 600_000 }, async () => {
  const page = await browser.visitor();
  await page.goto(`${app.url}/sign-in`);
  const hue = await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--hue').trim());
  assert.equal(hue, value('hue'));
  const accent = await page.evaluate(() => getComputedStyle(document.documentElement).accentColor);
  assert.match(accent, new RegExp(`^oklch\\([\\d.]+ [\\d.]+ ${value('hue')}\\)$`));
  assert.deepEqual(browser.complaints, []);
});
