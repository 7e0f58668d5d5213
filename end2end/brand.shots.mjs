// Takes screenshots of the landing page, the sign-in page and the chat in both themes, and combines them in end2end/shots/brand.png. Run by
// `./dev brand`.
import { join } from 'node:path';
import { shots, signUp, startApp, startBrowser, woken } from './test-app.mjs';

const app = await startApp({ provider: false, stripe: false });
const browser = await startBrowser();
const figures = [];

for (const colorScheme of ['light', 'dark']) {
  const page = await browser.visitor({ quiet: true, colorScheme, reducedMotion: 'reduce' });
  const shot = async (name) => {
    const picture = await page.screenshot({ path: join(shots, `brand-${name}-${colorScheme}.png`) });
    figures.push(`<figure><img src="data:image/png;base64,${picture.toString('base64')}"><figcaption>${name}, ${colorScheme}</figcaption></figure>`);
  };
  await page.goto(app.url);
  await shot('home');
  await page.goto(`${app.url}/sign-in`);
  await shot('sign-in');
  await signUp(page, app, `ann-${colorScheme}@example.com`, 'Ann');
  await woken(page);
  await shot('chat');
  await page.close();
}

const page = await browser.visitor({ quiet: true, viewport: { width: 1900, height: 900 } });
await page.setContent(`<style>body{display:grid;grid-template-columns:repeat(3,1fr);gap:12px;font:13px sans-serif}figure{margin:0}img{inline-size:100%;border:1px solid #999}</style>${figures.join('')}`);
const sheet = join(shots, 'brand.png');
await page.screenshot({ path: sheet, fullPage: true });
await browser.stop();
await app.stop();
console.log(`${figures.length} screenshots on ${sheet}`);
